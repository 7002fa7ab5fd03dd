/** Reads files in folders of ours. Refuses symbolic links and pipes in place of our files. */

import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { LibvirtError, systemError } from '../errors.ts';
import { isMissing } from './atomic-file.ts';

/** Returns the text of a whole file of at most `maxBytes`. Rejects with the system's error, or RangeError if it is longer. */
export async function readOwnFile(path: string, maxBytes: number): Promise<string> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  const { size } = await file.stat();
  if (size > maxBytes) throw new RangeError(`longer than ${maxBytes} bytes`);
  return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
}

/** Refuses (OPERATION_FAILED) anything but a regular file: a link, a pipe. Accepts that it is missing. */
export async function requireOwnFile(path: string, what: string): Promise<void> {
  const found = await lstat(path).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot look at ${what} '${path}'`);
  });
  if (!found || found.isFile()) return;
  const is = found.isSymbolicLink() ? 'a link, which may lead to any file' : 'not a regular file';
  throw new LibvirtError('OPERATION_FAILED', `${what} '${path}' is ${is}: put the file itself there`);
}
