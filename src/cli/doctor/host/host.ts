/** `xlsnap doctor --host`: asks the host and the daemon, and for each guest the checks that a create begins with. Reads only. */

import { snapshotDocument } from '../../../client/snapshot-document.ts';
import { runProgram } from '../../../disks/program.ts';
import { QEMU_IMG } from '../../../disks/qemu/qemu-img.ts';
import { asLibvirtError } from '../../../errors.ts';
import { type DomainRef, isActive } from '../../../model/domain.ts';
import { CREATE } from '../../../model/flags.ts';
import type { RpcClient } from '../../../rpc/client/client.ts';
import { socketAccess } from '../../install/socket-access.ts';
import type { DoctorFinding } from '../file-rules.ts';
import { type CheckedKind, type Component, guestFindings, versionFindings } from './host-rules.ts';

const QEMU_TIMEOUT_MS = 10_000;
/** virConnectGetType of libvirt's xen driver. */
const XEN = 'Xen';

/** Kinds of snapshots, with the options and the flags that ask for each. */
const OF_ACTIVE = [
  { title: 'with memory', options: [], flags: 0 },
  { title: 'of the disks alone', options: ['--disk-only'], flags: CREATE.DISK_ONLY },
] as const;
const OF_INACTIVE = [
  { title: 'inside the images', options: [], flags: 0 },
  { title: 'by overlays', options: ['--disk-only'], flags: CREATE.DISK_ONLY },
] as const;

/** Returns one line for people: who may use the Xen host. Undefined of other hosts. */
export async function accessLine(driver: string): Promise<string | undefined> {
  return driver === XEN ? (await socketAccess(undefined, (path) => path)).note : undefined;
}

/** Rejects if the daemon cannot be asked, or is not xlsnapd. */
export async function hostFindings(client: RpcClient, driver: string): Promise<readonly DoctorFinding[]> {
  const findings = [...versionFindings(await versions(client, driver))];
  for (const domain of await client.listAllDomains()) {
    findings.push(...guestFindings(domain, await checkedKinds(client, domain)));
  }
  return findings;
}

async function versions(client: RpcClient, driver: string): Promise<Partial<Record<Component, string>>> {
  const printed = await runProgram(QEMU_IMG, ['--version'], 'cannot ask for the version of QEMU', QEMU_TIMEOUT_MS);
  const qemu = /version (\d+\.\d+)/.exec(printed)?.[1];
  return {
    ...(driver === XEN && { Xen: version(await client.getVersion()), libvirt: version(await client.getLibVersion()) }),
    ...(qemu !== undefined && { QEMU: qemu }),
  };
}

/** The first two numbers of major · 10⁶ + minor · 10³ + release. */
const version = (number: bigint): string => `${number / 1_000_000n}.${(number / 1_000n) % 1_000n}`;

async function checkedKinds(client: RpcClient, domain: DomainRef): Promise<readonly CheckedKind[]> {
  const kinds = isActive({ ref: domain }) ? OF_ACTIVE : OF_INACTIVE;
  const checked: CheckedKind[] = [];
  for (const { title, options, flags } of kinds) {
    const refused = await client.checkCreate(domain, snapshotDocument({}), flags).then(
      () => undefined,
      (error) => asLibvirtError(error),
    );
    if (refused?.code === 'NO_SUPPORT') throw refused;
    checked.push({ title, options, refusal: refused?.message });
  }
  return checked;
}
