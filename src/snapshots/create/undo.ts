/** Undoes a create. Works from the create's parameters alone, however far it got. */

import { tryAll } from '../../errors.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { movesOnto } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { mergeLayers } from '../chains/merge-layers.ts';
import { checkUndo } from '../chains/shared-images.ts';
import type { SnapshotContext } from '../context.ts';
import type { Job } from '../ports/jobs.ts';

/**
 * Idempotent, and right for a domain that runs on its new overlays, still on its old images, or no longer at all: an
 * overlay that was written to is merged into its base. The name was free when the create began, so everything of that
 * name belongs to the create. Overlays that others use by now stay (55), and with them the domain. What cannot be undone keeps
 * nothing else from being undone.
 */
export async function undoCreate(
  context: SnapshotContext,
  domain: Domain,
  name: string,
  args: LibxlDomainSnapshotArgs,
  job: Pick<Job, 'signal' | 'progress'>,
): Promise<void> {
  const { host, images, memory } = context;
  const disks = args.disks ?? [];
  const internal = disks.filter(({ external }) => !external);
  const moves = movesOnto(disks);
  const layers = moves.map(({ disk, from, to }): LayerCommit => ({ disk, top: to, base: from }));
  const deleteFrom = (some: readonly LibxlDiskSnapshot[]) =>
    isActive(domain) ? host.deleteDiskSnapshots(domain, name, some) : images.delete(name, some);
  // The journal keeps the phase of the create.
  const merging = { ...job, phase: async () => {}, merged: async () => {} };
  const merge = (some: readonly LayerCommit[]) =>
    mergeLayers(context, domain, { layers: some, open: isActive(domain) }, merging);
  await tryAll([
    () => allOrEach(internal, deleteFrom),
    async () => {
      if (args.memory_path === memory.path(domain.ref, name)) await memory.remove(domain.ref, name);
      else if (args.memory_path !== undefined) await memory.removeFile(args.memory_path);
    },
    async () => {
      await checkUndo(
        context,
        domain,
        moves.map(({ disk, to }) => ({ disk, path: to.path })),
      );
      await allOrEach(layers, merge);
    },
  ]);
}

/** At once, since the guest may be away for that; if it fails, each alone, so that one keeps none of the others. */
async function allOrEach<T>(items: readonly T[], undo: (some: readonly T[]) => Promise<void>): Promise<void> {
  if (items.length === 0) return;
  await undo(items).catch((error) => {
    if (items.length === 1) throw error;
    return tryAll(items.map((item) => () => undo([item])));
  });
}

/** Names what may be left over if undoing fails: the new overlays, or the data of a snapshot that has none. */
export function leftoversOf(name: string, disks: readonly LibxlDiskSnapshot[]): string {
  const overlays = disks.flatMap(({ external_path: path }) => (path === undefined ? [] : [`'${path}'`]));
  return overlays.length > 0 ? overlays.join(', ') : `data of snapshot '${name}'`;
}
