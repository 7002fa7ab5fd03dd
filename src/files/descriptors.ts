/** The descriptors of this process: how many it may have, and whether enough are left for an operation. */

import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { LibvirtError } from '../errors.ts';

/** More than one operation has open at a time: files, sockets of device models, the pipes of a program. */
const NEEDED = 32;

/** RLIMIT_NOFILE of this process. */
export function openFilesMax(): number {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Refuses (OPERATION_INVALID, with the way out) if an operation could come to the limit of open files in its middle. */
export async function requireDescriptors(): Promise<void> {
  const max = openFilesMax();
  const { length: open } = await readdir('/proc/self/fd');
  if (open + NEEDED <= max) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `xlsnapd has ${open} of at most ${max} files open, and an operation may need ${NEEDED} more: end clients that are not ` +
      "needed (see 'ss -xp'), or raise LimitNOFILE= with 'systemctl edit xlsnapd.service'",
  );
}
