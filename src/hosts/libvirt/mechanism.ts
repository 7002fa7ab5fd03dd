/** What the two mechanisms have in common. */

import type { HostMemory } from '../../libxl/host-memory.ts';
import type { Domain } from '../../model/domain.ts';
import type { Host } from '../../snapshots/ports/host.ts';

/** How memory and disks of an active domain get into a snapshot and out of it. */
export type Mechanism = Pick<
  Host,
  | 'checkSave'
  | 'save'
  | 'recover'
  | 'deleteDiskSnapshots'
  | 'checkCommit'
  | 'commit'
  | 'freeze'
  | 'checkRestore'
  | 'retie'
> & {
  /**
   * Closes images that disks which were detached have left open in the device model of an active domain. Never rejects:
   * what stays open is logged.
   */
  closeDetached(domain: Domain, disks: readonly string[]): Promise<void>;
  /** Undefined if the memory of the host's domains is not the hypervisor's alone, or nobody can say. */
  hostMemory(): Promise<HostMemory | undefined>;
};
