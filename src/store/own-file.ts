/** Files in folders of ours. What stands in the place of one and leads elsewhere, or would never end, is not read. */

import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { LibvirtError, systemError } from '../errors.ts';
import { isMissing } from './atomic-file.ts';

/** The text of a whole file, no longer than `maxBytes`. Rejects with the error of the system, or RangeError. */
export async function readOwnFile(path: string, maxBytes: number): Promise<string> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  const { size } = await file.stat();
  if (size > maxBytes) throw new RangeError(`longer than ${maxBytes} bytes`);
  return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
}

/** Refuses (OPERATION_FAILED) what is there and is no regular file: a link, a pipe. One that is missing is no error. */
export async function requireOwnFile(path: string, what: string): Promise<void> {
  const found = await lstat(path).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot look at ${what} '${path}'`);
  });
  if (!found || found.isFile()) return;
  const is = found.isSymbolicLink() ? 'a link, which may lead to any file' : 'no regular file';
  throw new LibvirtError('OPERATION_FAILED', `${what} '${path}' is ${is}: put the file itself there`);
}
