/**
 * Data that snapshots of two domains name as theirs: of a domain that was copied with its snapshots, on the same images. Asked
 * before the data is deleted, which would take it from the other one.
 */

import { LibvirtError } from '../../errors.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';
import { DELETE } from '../../model/flags.ts';
import { virshCommand } from '../../model/messages/virsh-command.ts';
import type { SnapshotDef, SnapshotEntry } from '../../model/snapshot.ts';
import { internalDisks } from '../../xml/snapshot/libxl-args.ts';
import type { Looking } from '../context.ts';

/**
 * Refuses (55) if another domain has a snapshot of the same name in the same image, or one whose memory is in the same file.
 * Reads only.
 */
export async function checkOnlyOwner(
  { host, images, snapshotsOf }: Looking,
  { ref }: Domain,
  doomed: readonly SnapshotDef[],
): Promise<void> {
  const mine = await Promise.all(doomed.map((snapshot) => dataOf(images, snapshot)));
  for (const other of await host.list()) {
    if (other.ref.uuid === ref.uuid) continue;
    const { tree } = await snapshotsOf(other.ref);
    const theirMemory = mine.some(({ memory }) => memory !== undefined) ? await memoryOf(images, tree) : undefined;
    for (const { name, inImages, memory } of mine) {
      const ofSameName = tree.get(name);
      for (const path of ofSameName ? internalPaths(ofSameName) : []) {
        if (inImages.has(await images.fileKey(path))) throw alsoOf(ref, name, `image '${path}'`, other.ref, name);
      }
      const theirs = memory === undefined ? undefined : theirMemory?.get(memory);
      if (theirs) throw alsoOf(ref, name, `memory image '${theirs.file}'`, other.ref, theirs.name);
    }
  }
}

/** Another domain's snapshot whose memory is in this file. */
export async function memoryUser(
  { host, images, snapshotsOf }: Looking,
  { ref }: Domain,
  path: string,
): Promise<{ readonly domain: string; readonly snapshot: string } | undefined> {
  const key = await images.fileKey(path);
  for (const other of await host.list()) {
    if (other.ref.uuid === ref.uuid) continue;
    const found = (await memoryOf(images, (await snapshotsOf(other.ref)).tree)).get(key);
    if (found) return { domain: other.ref.name, snapshot: found.name };
  }
  return undefined;
}

/** Snapshots with external memory, by the key of its file; of several with one file the first. */
async function memoryOf(images: Looking['images'], tree: { all(): readonly SnapshotEntry[] }) {
  const found = new Map<string, { readonly name: string; readonly file: string }>();
  for (const { name, memory } of tree.all()) {
    if (memory.location !== 'external') continue;
    const key = await images.fileKey(memory.file);
    if (!found.has(key)) found.set(key, { name, file: memory.file });
  }
  return found;
}

/** By fileKey. */
async function dataOf(images: Looking['images'], snapshot: SnapshotDef) {
  const paths = internalDisks(snapshot).map(({ disk }) => disk.pdev_path ?? '');
  const { name, memory } = snapshot;
  return {
    name,
    inImages: new Set(await Promise.all(paths.map((path) => images.fileKey(path)))),
    memory: memory.location === 'external' ? await images.fileKey(memory.file) : undefined,
  };
}

function internalPaths({ disks, images }: SnapshotEntry): readonly string[] {
  const internal = new Set(disks.flatMap(({ name, location }) => (location === 'internal' ? [name] : [])));
  return images.flatMap(({ disk, image }) => (internal.has(disk) ? [image.path] : []));
}

function alsoOf(ref: DomainRef, name: string, place: string, other: DomainRef, theirs: string): LibvirtError {
  const forget = virshCommand('delete', { domain: ref, snapshot: name, flags: DELETE.METADATA_ONLY });
  return new LibvirtError(
    'OPERATION_INVALID',
    `${place} of snapshot '${name}' of domain '${ref.name}' is also that of snapshot '${theirs}' of domain '${other.name}', ` +
      `which would lose its data; to forget this one and keep the data: ${forget}`,
  );
}
