/** A running operation, as hosts and disks see it, and the call that it serves. */

import type { DiskImage, LayerCommit } from '../../model/disk-image.ts';
import type { LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { Operation, Phase } from '../../model/phases.ts';

/**
 * Progress of a job, for virsh domjobinfo and people. Bytes of the memory image; `total` is an estimate until the end.
 */
export interface JobProgress {
  readonly done: number;
  readonly total: number;
}

/** A running operation: reports its progress, and asks whether it is cancelled. */
export interface Job {
  /** Aborted when the client cancels or the daemon stops; honoured until the point of no return. */
  readonly signal: AbortSignal;
  /** Records a phase durably before it starts. The operation waits for it. */
  phase(name: Phase): Promise<void>;
  /** Records durably what is about to be made, so that it can be undone after a crash, and what will be left over. */
  plan(args: LibxlDomainSnapshotArgs, abandoned?: readonly DiskImage[]): Promise<void>;
  /** Records durably the definition of a guest that is about to be saved and off: after a crash it comes back with that. */
  definition(xml: string): Promise<void>;
  progress(progress: JobProgress): void;
}

/** What a merge reports to its operation. */
export interface MergeJob extends Pick<Job, 'signal' | 'progress'> {
  /** What named the layer names its base when this has resolved, and the layer is removed. */
  merged(layer: LayerCommit): Promise<void>;
}

/** The call of a client that an operation serves. */
export interface Task {
  readonly operation: Operation;
  readonly snapshot: string;
  /** libvirt's flags of the call. */
  readonly flags: number;
}
