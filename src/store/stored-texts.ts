/** The files of a domain's stored snapshots, as texts: any file may be damaged, or no file of ours. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, type LibvirtError, systemError } from '../errors.ts';
import { domainUuid } from '../xml/domain/domain.ts';
import { readSnapshot } from '../xml/snapshot/read.ts';
import { isMissing, UNFINISHED } from './atomic-file.ts';
import { readOwnFile } from './own-file.ts';

/** libvirt's limit for a stored snapshot. */
export const MAX_FILE_BYTES = 1024 * 1024;

/** Number of files that are read at the same time: each read alone mostly waits. */
const FILES_AHEAD = 16;

/** True for the file of a write under way, or one that a crash cut off, next to the file that it was to replace. */
export function isReplacement(file: string, names: readonly string[]): boolean {
  return file.endsWith(UNFINISHED) && names.includes(file.slice(0, -UNFINISHED.length));
}

/** Returns the UUID of the domain in a folder's documents, or undefined if none has one. */
export async function uuidIn(folder: string): Promise<string | undefined> {
  for (const file of await listFolder(folder).catch(() => [])) {
    try {
      const { snapshot } = readSnapshot(await readStored(join(folder, file)), { internal: true });
      if (snapshot.domain) return domainUuid(snapshot.domain.element);
    } catch {
      // load() reports what is wrong with the file.
    }
  }
  return undefined;
}

export async function listFolder(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw systemError(error, `Failed to open snapshot directory ${folder}`);
  }
}

/** Yields the text of each file, or the error of reading it, in the order of `names`; reads some files ahead. */
export async function* texts(
  folder: string,
  names: readonly string[],
): AsyncGenerator<readonly [file: string, text: string | LibvirtError]> {
  for (let at = 0; at < names.length; at += FILES_AHEAD) {
    const batch = names.slice(at, at + FILES_AHEAD);
    const read = batch.map(async (file) => [file, await readStored(join(folder, file)).catch(asLibvirtError)] as const);
    yield* await Promise.all(read);
  }
}

/** Reads a whole file, no longer than libvirt reads. Refuses anything but a regular file: a pipe would never end. */
export async function readStored(path: string): Promise<string> {
  try {
    return await readOwnFile(path, MAX_FILE_BYTES);
  } catch (error) {
    throw systemError(error, `Failed to read snapshot file ${path}`);
  }
}
