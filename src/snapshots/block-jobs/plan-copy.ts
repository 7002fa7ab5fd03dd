/** Plans virDomainBlockCopy, and virDomainBlockRebase as a copy: the disk's data is copied to another image. */

import { isAbsolute } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import type { CopyJob } from '../../model/blocks/block-job.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain } from '../../model/domain.ts';
import { COPY } from '../../model/flags.ts';
import { readDiskDocument } from '../../xml/domain/disk-document.ts';
import type { CopyDestination, CopyRequest } from '../api.ts';
import { describeUser, sharedImages } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import { checkImagePath } from '../name-rules.ts';
import { ownFileAt } from '../own-files.ts';
import { invalid, readDiskChain } from './chain.ts';
import { plain } from './plan-commit.ts';
import type { BlockDevices } from './ports.ts';

/** Formats that QEMU can write to; a copy in another one could not be kept in step. */
const FORMATS: ReadonlySet<string> = new Set(['raw', 'qcow2', 'qed']);

/** Refuses what the qemu driver refuses before it looks at the domain. */
export function readDestination({ destination }: Pick<CopyRequest, 'destination'>): CopyDestination {
  const read = typeof destination === 'string' ? readDiskDocument(destination) : destination;
  if (!isAbsolute(read.path)) throw invalid('absolute path must be used as block copy target');
  return read;
}

/** Refuses a granularity that QEMU does not take, in the qemu driver's words. */
export function checkGranularity(granularity: number): void {
  if (granularity !== 0 && (granularity & (granularity - 1)) !== 0) throw invalid('granularity must be power of 2');
}

/** Returns the job. Refuses it in the qemu driver's words, and if anything else uses the destination. Reads only. */
export async function planCopy(
  context: SnapshotContext,
  devices: Pick<BlockDevices, 'formatOf'>,
  domain: Domain,
  { disk: name, flags, granularity, bufferSize }: CopyRequest,
  destination: CopyDestination,
): Promise<CopyJob> {
  const { disk, layers } = await readDiskChain(context, domain, name, 'copied');
  const [source, below] = layers;
  if (domain.persistent && !(flags & COPY.TRANSIENT_JOB)) {
    const text = 'domain is not transient: the job would end with this run of the guest, which --transient-job accepts';
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  const reuse = (flags & COPY.REUSE_EXT) !== 0;
  const backing = flags & COPY.SHALLOW ? below : undefined;
  const target = await targetOf(devices, destination, source, reuse);
  if (!FORMATS.has(target.format)) {
    const text = `format '${target.format}' of the destination of a block copy is not supported: give raw or qcow2`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  if (backing && target.format === 'raw') {
    const text = `shallow copy of disk '${disk}' into a raw file is not possible`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  const own = await ownFileAt(context, target.path);
  if (own !== undefined) {
    const text = `destination '${target.path}' of disk '${disk}' is among xlsnapd's own files, '${own}': choose another`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', text);
  }
  for (const [path, user] of await sharedImages(context, domain, [{ path: target.path }])) {
    const text = `destination '${path}' of disk '${disk}' is used by ${describeUser(user)}, and a copy would overwrite it`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  const { disks } = await context.host.definition(domain, 'live');
  return {
    ...{ kind: 'copy', disk, source: plain(source), target, reuse },
    ...(backing && { backing: plain(backing) }),
    left: (backing ? [source] : layers).map(plain),
    discard: disks.find(({ target: found }) => found === disk)?.discard ?? 'unmap',
    synchronous: (flags & COPY.SYNCHRONOUS_WRITES) !== 0,
    ...(granularity > 0 && { granularity }),
    ...(bufferSize > 0n && { bufferSize: Number(bufferSize) }),
  };
}

/** Refuses (67) to have the guest use a copy at whose path it could not be started again. It can still be finished. */
export async function checkPivot(
  { host }: Pick<SnapshotContext, 'host'>,
  domain: Domain,
  { disk, target: { path } }: CopyJob,
): Promise<void> {
  const definition = await host.definition(domain, 'live');
  checkImagePath('destination', { disk, path }, definition, 'finish the copy without a pivot, or copy to another path');
}

async function targetOf(
  devices: Pick<BlockDevices, 'formatOf'>,
  { path, format, block }: CopyDestination,
  source: DiskImage,
  reuse: boolean,
): Promise<DiskImage> {
  // An image that the client has made says what it is, as libvirt reads it; a missing one is named by those who open it.
  const found = format ?? (reuse ? await devices.formatOf(path).catch(() => undefined) : undefined);
  return { path, format: found ?? source.format, ...(block && { block }) };
}
