/** The pieces every operation works with, put together by the daemon. */

import type { DomainRef } from '../model/domain.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { Jobs } from './jobs.ts';
import type { OfflineDisks } from './ports/disks.ts';
import type { Host, LifecycleEvents } from './ports/host.ts';
import type { Journal } from './ports/journal.ts';
import type { MemoryImages, ProtectedNames, SnapshotStore } from './ports/store.ts';

/** The parts that every operation uses. */
export interface SnapshotContext {
  readonly host: Host;
  readonly images: OfflineDisks;
  readonly store: SnapshotStore;
  readonly memory: MemoryImages;
  readonly protectedNames: ProtectedNames;
  /** Files and folders of the daemon's own: absolute paths. */
  readonly ownFiles: readonly string[];
  readonly events: LifecycleEvents;
  readonly jobs: Jobs;
  readonly journal: Journal;
  /** A domain's snapshots; from memory once they have been loaded. */
  readonly snapshotsOf: (ref: DomainRef) => Promise<DomainSnapshots>;
  /** Plain words for the administrator's log. */
  readonly log: (text: string) => void;
}

/** The parts that reading domains, their snapshots and their backing chains needs. */
export type Looking = Pick<SnapshotContext, 'host' | 'images' | 'snapshotsOf'>;
