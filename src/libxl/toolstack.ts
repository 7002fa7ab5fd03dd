/** The means of save and restore: on Xen the helper process, the guest's own QEMU, and xenstore. */

import { type Program, runProgram } from '../disks/program.ts';
import { qmpSocketOf } from '../disks/qemu/qmp.ts';
import { LibxlHelper } from './helper/client.ts';

const XENSTORE_READ: Program = { name: 'xenstore-read', debianPackage: 'xenstore-utils' };

/** A helper process as save and restore see it. */
export type LibxlSession = Pick<LibxlHelper, keyof LibxlHelper>;

/** The parts of Xen's toolstack that a save uses; tests replace them. */
export interface Toolstack {
  startHelper(): LibxlSession;
  /** Monitor of the domain's device model. */
  qmpSocketOf(domid: number): Promise<string>;
  /** Undefined if there is no such key, or it cannot be read. */
  readXenstore(path: string): Promise<string | undefined>;
}

/** The real toolstack. */
export const XEN: Toolstack = {
  startHelper: () => LibxlHelper.start(),
  qmpSocketOf: (domid) => qmpSocketOf(domid),
  readXenstore: (path) =>
    runProgram(XENSTORE_READ, ['--', path], `cannot read '${path}'`).then(
      (value) => value.trim(),
      () => undefined,
    ),
};

/** Bytes of the memory image; `total` is an estimate until the end. */
export interface MemoryProgress {
  readonly done: number;
  readonly total: number;
}
