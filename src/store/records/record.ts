/** Records in files of ours: JSON with the version of its format, so that no other version of xlsnap misreads it. */

import { LibvirtError, systemError } from '../../errors.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { isMissing } from '../atomic-file.ts';
import { readOwnFile } from '../own-file.ts';

/** The version that is written. Records without one are from before there were versions, and are read as well. */
const VERSION = 1;

/** Room for the names of some hundred disks and their images, and for a domain's definition. */
const MAX_RECORD_BYTES = 4 * 1024 * 1024;

/** Returns the text of a record's file: one line. */
export function encodeRecord(fields: object): string {
  return `${JSON.stringify({ version: VERSION, ...fields })}\n`;
}

/**
 * Returns what `read` makes of the record's fields; undefined if there is no such file. Refuses (INTERNAL_ERROR), with the
 * way out, a record of a newer version, and one of which `read` makes nothing or throws. `what`: `a record of an operation`.
 */
export async function readRecord<T>(
  path: string,
  what: string,
  // biome-ignore lint/suspicious/noExplicitAny: `read` is to check what a file holds, and may throw.
  read: (fields: any) => T | undefined,
): Promise<T | undefined> {
  const text = await readOwnFile(path, MAX_RECORD_BYTES).catch((error) => {
    if (isMissing(error)) return undefined;
    throw systemError(error, `cannot read file '${path}'`);
  });
  if (text === undefined) return undefined;
  const fields = fieldsOf(text);
  const version = fields?.version ?? 0;
  if (Number.isInteger(version) && version > VERSION) {
    throw new LibvirtError(
      'INTERNAL_ERROR',
      `'${path}' was written by a newer xlsnap (version ${version} of its records; this one reads ${VERSION}): install ` +
        'that one again and restart xlsnapd, which deals with it',
    );
  }
  const found = version === 0 || version === VERSION ? attempt(() => read(fields)) : undefined;
  if (found !== undefined) return found;
  throw new LibvirtError(
    'INTERNAL_ERROR',
    `'${path}' is not ${what} that this xlsnap can read: if another version wrote it, install that one again and restart ` +
      `xlsnapd; else see what 'xlsnap doctor' finds, then '${shellCommand('rm', path)}' and restart xlsnapd`,
  );
}

/** For what `read` checks: true for a DomainRef. Throws if it is nothing at all. */
// biome-ignore lint/suspicious/noExplicitAny: it comes from a file.
export function isDomainRef({ name, uuid, id }: any): boolean {
  return typeof name === 'string' && typeof uuid === 'string' && Number.isInteger(id);
}

/** The same for a DiskImage. */
// biome-ignore lint/suspicious/noExplicitAny: it comes from a file.
export function isDiskImage({ path, format }: any): boolean {
  return typeof path === 'string' && typeof format === 'string';
}

function fieldsOf(text: string): { readonly version?: number } | undefined {
  const fields: unknown = attempt(() => JSON.parse(text));
  return typeof fields === 'object' && fields !== null ? fields : undefined;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
