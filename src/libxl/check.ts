/** What cannot be saved is refused here, before anything is touched. */

import { type DiskNode, diskNode } from '../disks/internal-snapshots.ts';
import { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { LibxlSession } from './mechanism.ts';
import type { DomainInfo } from './protocol.ts';

/** Where the RAM goes, or undefined for disks alone. `memory` by default follows `memory_path`. */
export function memoryPathOf({ memory, memory_path }: LibxlDomainSnapshotArgs): string | undefined {
  if (memory === false) return undefined;
  if (memory === true && memory_path === undefined) {
    throw new LibvirtError('INVALID_ARG', 'a snapshot with memory needs a memory_path');
  }
  return memory_path;
}

/** The domain, if it can be snapshotted with these parameters. */
export async function requireSavable(
  xen: LibxlSession,
  domid: number,
  args: LibxlDomainSnapshotArgs,
): Promise<DomainInfo> {
  if (domid === 0) throw new LibvirtError('OPERATION_INVALID', 'Domain-0 cannot be snapshotted: it runs this program');
  diskNodes(args.disks ?? []);
  const info = await xen.domainInfo(domid);
  if (!info) throw new LibvirtError('NO_DOMAIN', `no domain with matching id '${domid}'`);
  if (info.dying || info.shutdown) {
    const state = info.dying ? 'dying' : `shut down (${info.shutdown_reason ?? 'unknown'})`;
    throw new LibvirtError('OPERATION_INVALID', `Domain '${domid}' cannot be snapshotted: it is ${state}`);
  }
  if (memoryPathOf(args) === undefined) return info;
  if (info.paused) {
    const text = `Domain '${domid}' has to be running because libxenlight will suspend it`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (args.live === true && info.domain_type === 'pv' && !(await xen.physinfo()).cap_shadow) {
    const text = `a live save of PV domain '${domid}' needs shadow paging, which this Xen is built without: save it without the live flag`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  return info;
}

/** QEMU's nodes of the disks. Refuses a disk that QEMU does not serve, and what it cannot snapshot. */
export function diskNodes(disks: readonly LibxlDiskSnapshot[]): readonly DiskNode[] {
  return disks.map(({ disk, external }) => {
    const { vdev, format = 'unknown', backend = 'qdisk' } = disk;
    if (external) {
      const text = `external snapshot of disk '${vdev}' of an active domain is not supported yet`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    if (format !== 'qcow2') {
      const text = `internal snapshot for disk ${vdev} unsupported for storage type ${format}`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    if (backend !== 'qdisk') {
      const text = `internal snapshot for disk ${vdev} unsupported for backend ${backend}: qdisk is needed (driver name='qemu')`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    return diskNode(disk);
  });
}
