/** Durable record of operations under way. */

import type { LibvirtError } from '../../errors.ts';
import type { MechanismName } from '../../model/daemon-status.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { Phase } from '../../model/phases.ts';
import type { Task } from './jobs.ts';

/** An operation that was running when its daemon ended. */
export interface PendingOperation extends Task {
  readonly domain: DomainRef;
  /** The phase that was about to start, or had started. */
  readonly phase: Phase;
  /** What its daemon saved guests by; undefined in records from before that was recorded. */
  readonly mechanism?: MechanismName;
  /** The parts of the snapshot that it was making, if it had got so far. */
  readonly args?: LibxlDomainSnapshotArgs;
  /** Images that nothing needs when the operation has succeeded. */
  readonly abandoned?: readonly DiskImage[];
  /** The live definition of the guest that was saved; absent in records from before that was recorded. */
  readonly definition?: string;
}

/** A record that cannot be read, and so hides an operation. */
export interface UnreadableRecord {
  /** Of the domain. */
  readonly uuid: string;
  readonly error: LibvirtError;
}

/** Durable record of operations under way, one per domain. */
export interface Journal {
  /**
   * Opens the record; its first phase is `begun`. Refuses, with the way out, a domain that has a record already: of an
   * operation that could not be recovered, or that this version cannot read. A revert or a delete may be run again.
   */
  begin(domain: DomainRef, task: Task): Promise<JournalEntry>;
  /** Returns the interrupted operations, and the records that cannot be read. */
  pending(): Promise<readonly (PendingOperation | UnreadableRecord)[]>;
  /** Ends a pending record: nothing is left to repair. */
  end(domain: DomainRef): Promise<void>;
}

/** The record of one operation. */
export interface JournalEntry {
  phase(name: Phase): Promise<void>;
  /** Kept in the record from now on. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  /** The same. */
  definition(xml: string): Promise<void>;
  /**
   * Call when the operation has ended and nothing is left to repair. Never rejects: if the record cannot be removed,
   * that is logged, and the next start recovers an operation that is already complete.
   */
  end(): Promise<void>;
}
