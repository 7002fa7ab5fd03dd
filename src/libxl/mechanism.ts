/** What save and restore do their work with: on Xen the helper process and the guest's own QEMU. */

import { qmpSocketOf } from '../disks/qmp.ts';
import { LibxlHelper } from './helper-process.ts';

/** A helper process as save and restore see it. */
export type LibxlSession = Pick<LibxlHelper, keyof LibxlHelper>;

export interface Mechanism {
  startHelper(): LibxlSession;
  /** Monitor of the domain's device model. */
  qmpSocketOf(domid: number): Promise<string>;
}

export const XEN: Mechanism = { startHelper: () => LibxlHelper.start(), qmpSocketOf: (domid) => qmpSocketOf(domid) };

/** Bytes of the memory image; `total` is an estimate until the end. */
export interface MemoryProgress {
  readonly done: number;
  readonly total: number;
}
