/** The interfaces that the policy of block jobs needs. Hosts, store and fronts implement them. */

import type { BlockInfo, BlockJob, BlockJobEvent, BlockJobState } from '../../model/blocks/block-job.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';
import type { UnreadableRecord } from '../ports/journal.ts';

/** Block jobs of active domains, by their device models. */
export interface BlockDevices {
  /** The format of an image by its header, as QEMU probes it. */
  formatOf(path: string): Promise<string>;
  /**
   * Starts a job; asks everything that can refuse before, and after an error the disk is as before. `speed`: bytes a second
   * at most; 0: unlimited.
   */
  start(domain: Domain, job: BlockJob, speed: number): Promise<void>;
  /** Undefined if the device model does not have the job. */
  state(domain: Domain, job: BlockJob): Promise<BlockJobState | undefined>;
  setSpeed(domain: Domain, job: BlockJob, speed: number): Promise<void>;
  /** The job concludes later, and is then to be dismissed. */
  cancel(domain: Domain, job: BlockJob): Promise<void>;
  dismiss(domain: Domain, job: BlockJob): Promise<void>;
  /**
   * Finishes a job that is ready or has succeeded; `moved` is called when the guest uses another active image. What the
   * path of an overlay that was merged shows from then on is what the base does. A copy that is not to be pivoted is
   * closed. Idempotent.
   */
  finish(domain: Domain, job: BlockJob, moved: () => Promise<void>): Promise<void>;
  /** Gives a disk another size, bytes; the guest sees it at once. Durable when it returns. */
  resize(domain: Domain, disk: string, image: DiskImage, bytes: number): Promise<void>;
  /** Also of an image that is in use. */
  info(image: DiskImage): Promise<BlockInfo>;
}

/** A domain's block jobs as they were recorded. `id`: of the run of the domain. */
export interface RecordedBlockJobs {
  readonly domain: DomainRef;
  readonly jobs: readonly BlockJob[];
}

/** Durable record of the block jobs of active domains, so that a daemon that is started again finds them. */
export interface BlockJobRecords {
  /** Records that cannot be read stay as they are. */
  load(): Promise<readonly (RecordedBlockJobs | UnreadableRecord)[]>;
  /** Replaces the record; with no jobs, removes it. Durable when the promise resolves. */
  write(domain: DomainRef, jobs: readonly BlockJob[]): Promise<void>;
}

/** Events for clients. */
export interface BlockJobEvents {
  emitBlockJob(ref: DomainRef, event: BlockJobEvent): void;
}
