/** Block jobs: work that a device model does on a disk's backing chain while the guest runs. */

import type { DiskImage, LayerCommit } from '../disk-image.ts';

/** virDomainBlockJobType, by the words of QEMU and virsh. */
export const BLOCK_JOB_TYPES = { pull: 1, copy: 2, commit: 3, 'active-commit': 4 } as const;
/** The same in virsh's words. */
export const BLOCK_JOB_NAMES = {
  pull: 'Block Pull',
  copy: 'Block Copy',
  commit: 'Block Commit',
  'active-commit': 'Active Block Commit',
} as const;
/** virConnectDomainEventBlockJobStatus. */
export const BLOCK_JOB_STATUS = { completed: 0, failed: 1, canceled: 2, ready: 3 } as const;

/** The kind of a block job. A copy and an active commit stay ready, when all is copied, until they are ended. */
export type BlockJobKind = keyof typeof BLOCK_JOB_TYPES;

/** The kind that has libvirt's number; undefined for one that only a libvirtd has. */
export function blockJobKind(type: number): BlockJobKind | undefined {
  return (Object.keys(BLOCK_JOB_TYPES) as BlockJobKind[]).find((kind) => BLOCK_JOB_TYPES[kind] === type);
}

interface Commit {
  readonly disk: string;
  readonly layer: LayerCommit;
  /** Remove the images that are merged. */
  readonly remove: boolean;
}

/** The disk's data is copied to another image, and both are kept in step until the job is ended. */
export interface CopyJob {
  readonly kind: 'copy';
  readonly disk: string;
  readonly source: DiskImage;
  readonly target: DiskImage;
  /** The backing image that both have, of a shallow copy; absent: the copy holds all data. */
  readonly backing?: DiskImage;
  /** Images that the disk does not use any more after the pivot, from the top. They keep their contents. */
  readonly left: readonly DiskImage[];
  /** The target was made by the client. */
  readonly reuse: boolean;
  readonly discard: 'ignore' | 'unmap';
  /** The guest's writes wait until they are in both images. */
  readonly synchronous: boolean;
  /** QEMU's own if absent; bytes. */
  readonly granularity?: number;
  readonly bufferSize?: number;
  /** A client has asked for the pivot. */
  readonly pivot?: true;
}

/** A block job with everything that is needed to find it again and to finish it. */
export type BlockJob =
  | CopyJob
  | (Commit & { readonly kind: 'commit' })
  | (Commit & {
      readonly kind: 'active-commit';
      /** A client has asked for the pivot. */
      readonly pivot?: true;
    })
  | {
      readonly kind: 'pull';
      readonly disk: string;
      readonly active: DiskImage;
      /** The backing image that the active one has afterwards; absent: none. */
      readonly base?: DiskImage;
      /** Images that leave the backing chain, from the top. They keep their contents. */
      readonly between: readonly DiskImage[];
    };

/** How far a device model has got. `done` and `total` are bytes, `speed` bytes a second (0: unlimited). */
export interface BlockJobState {
  readonly state: 'running' | 'ready' | 'concluded';
  readonly done: number;
  readonly total: number;
  readonly speed: number;
  /** QEMU's words, if it has concluded with a failure or was cancelled. */
  readonly error?: string;
}

/** For clients that registered for BLOCK_JOB (`path`) or BLOCK_JOB_2 (`disk`). */
export interface BlockJobEvent {
  readonly disk: string;
  /** The disk's active image. */
  readonly path: string;
  readonly kind: BlockJobKind;
  readonly status: keyof typeof BLOCK_JOB_STATUS;
}

/** Sizes of a disk's active image, in bytes (virDomainBlockInfo). */
export interface BlockInfo {
  /** As the guest sees it. */
  readonly capacity: number;
  /** Space that its file takes. */
  readonly allocation: number;
  /** Where the file or device ends. */
  readonly physical: number;
}
