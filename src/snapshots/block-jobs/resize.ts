/** virDomainBlockResize: a disk of a running guest gets another size. */

import { LibvirtError } from '../../errors.ts';
import type { Domain } from '../../model/domain.ts';
import { RESIZE } from '../../model/flags.ts';
import type { SnapshotContext } from '../context.ts';
import { activeImage, invalid } from './chain.ts';
import type { BlockDevices } from './ports.ts';

const SECTOR_BYTES = 512n;
/** More than any format has room for; numbers are exact up to it. */
const MAX_BYTES = 2n ** 53n - SECTOR_BYTES;

/** In bytes, rounded up to whole sectors. Refuses what cannot be a size. */
export function bytesOf(size: bigint, flags: number): number {
  const unit = flags & RESIZE.BYTES ? 1n : 1024n;
  if (size > MAX_BYTES / unit) throw new LibvirtError('OVERFLOW', `size must be less than ${MAX_BYTES / unit}`);
  return Number((size * unit + SECTOR_BYTES - 1n) & ~(SECTOR_BYTES - 1n));
}

/** Refuses in the qemu driver's words. Call it while holding the domain's lock. */
export async function resizeDisk(
  { host, jobs }: Pick<SnapshotContext, 'host' | 'jobs'>,
  devices: Pick<BlockDevices, 'resize'>,
  domain: Domain,
  name: string,
  bytes: number,
): Promise<void> {
  const definition = await host.definition(domain, 'live');
  const disk = definition.disks.find(({ target, path }) => target === name || path === name);
  if (!disk) throw invalid(`disk '${name}' was not found in the domain config`);
  const { target } = disk;
  if (!disk.hasSource || disk.readonly) {
    throw new LibvirtError('OPERATION_UNSUPPORTED', `can't resize empty or readonly disk '${target}'`);
  }
  jobs.refuseBusyDisks(domain.ref.uuid, [target]);
  await devices.resize(domain, target, activeImage(definition, target, 'resized'), bytes);
}
