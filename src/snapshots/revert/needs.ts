/**
 * Everything that a revert needs once it has begun: derived from its plan here, and nowhere else. All of it is asked while
 * the old domain still runs, so that a revert that cannot succeed changes nothing. docs/semantics.md has the same list.
 */

import { requireDescriptors } from '../../files/descriptors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { Domain, DomainDefinition, StartFile } from '../../model/domain.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { type StartKind, startFiles } from '../../xml/domain/start-files.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import type { SnapshotContext } from '../context.ts';
import type { SavedMemory } from '../ports/host.ts';
import { checkChains } from './image-rules.ts';
import type { RevertPlan } from './plan.ts';

/** One thing that a revert needs. */
export type Need =
  /** File descriptors of this process. */
  | { readonly kind: 'descriptors' }
  /** The images and volumes that were captured: there, free, and in a state in which their contents can be put back. */
  | { readonly kind: 'captured disks'; readonly disks: readonly LibxlDiskSnapshot[] }
  /** Space for what these disks hold until all of them are reverted. */
  | { readonly kind: 'room'; readonly disks: readonly LibxlDiskSnapshot[] }
  /** The names of the new overlays. */
  | { readonly kind: 'new overlays'; readonly overlays: readonly LibxlDiskSnapshot[] }
  /** The overlays that hold what was written since the last snapshot: removed last of all. */
  | { readonly kind: 'old overlays'; readonly overlays: readonly DiskImage[] }
  /** What the domain is defined as, and started with: its owner accepts it. */
  | { readonly kind: 'definitions'; readonly definitions: readonly DomainDefinition[] }
  /** Other files that the new domain opens: disks that were not captured, media, kernel, firmware, emulator. */
  | { readonly kind: 'files'; readonly files: readonly StartFile[] }
  /** What the host gives the new domain besides: bridges, networks, devices, the kind of guest. */
  | { readonly kind: 'host'; readonly definition: DomainDefinition }
  /** The memory image, which belongs to this domain and to these disks, and is whole. */
  | { readonly kind: 'memory image'; readonly memory: SavedMemory; readonly definition: DomainDefinition }
  /** Memory of the host for the new domain. */
  | { readonly kind: 'host memory'; readonly definition: DomainDefinition; readonly image?: string }
  /** The overlays of external snapshots on the images that they were made on. Not with FORCE. */
  | { readonly kind: 'backing chains' };

/** All kinds, in the order in which they are asked. */
export const NEED_KINDS = [
  'descriptors',
  'captured disks',
  'room',
  'new overlays',
  'old overlays',
  'definitions',
  'files',
  'host',
  'memory image',
  'host memory',
  'backing chains',
] as const satisfies readonly Need['kind'][];

/** The order is that in which they are asked. Pure: no I/O. */
export function needsOf({ snapshot, target, disks, internal, definition, persistent }: RevertPlan): readonly Need[] {
  const captured = capturedDisks(snapshot);
  const starting = target.kind === 'boot' ? persistent : definition;
  const overlays = new Set(disks.overlays.map(({ external_path }) => external_path));
  const asCaptured = new Set(captured.map(({ disk }) => disk.pdev_path));
  const filesFor = (kind: StartKind): Need => {
    const files = startFiles(starting, kind).filter(({ path }) => !overlays.has(path));
    // The backing chains of captured images are looked at with these images.
    return {
      kind: 'files',
      files: files.map(({ image, ...file }) => ({ ...file, ...(image && !asCaptured.has(image.path) && { image }) })),
    };
  };
  const memory = target.kind === 'restore' && { path: target.memoryPath, name: snapshot.name, disks: captured };
  return [
    { kind: 'descriptors' },
    { kind: 'captured disks', disks: captured },
    { kind: 'room', disks: internal },
    { kind: 'new overlays', overlays: disks.overlays },
    { kind: 'old overlays', overlays: disks.abandoned },
    { kind: 'definitions', definitions: target.kind === 'restore' ? [persistent, definition] : [persistent] },
    ...(target.kind === 'off' ? [] : [filesFor(target.kind), { kind: 'host', definition: starting } as const]),
    ...(memory ? [{ kind: 'memory image', memory, definition } as const] : []),
    ...(target.kind === 'off'
      ? []
      : [{ kind: 'host memory', definition: starting, ...(memory && { image: memory.path }) } as const]),
    { kind: 'backing chains' },
  ];
}

/** Refuses what is not as the revert needs it. Reads only. */
export async function checkNeed(
  { host, images, memory }: SnapshotContext,
  domain: Domain,
  { snapshot, others, open }: RevertPlan,
  need: Need,
): Promise<void> {
  switch (need.kind) {
    case 'descriptors':
      return await requireDescriptors();
    case 'captured disks':
      return await images.check(snapshot.name, need.disks, open);
    case 'room':
      return await images.checkApply(snapshot.name, need.disks);
    case 'new overlays':
      if (need.overlays.length > 0) await host.checkSetDisks(domain);
      return await images.checkFree(snapshot.name, need.overlays);
    case 'old overlays':
      return await images.checkRemoval(need.overlays, open);
    case 'definitions':
      for (const definition of need.definitions) await host.checkDefinition(domain, definition);
      return;
    case 'files':
      return await images.checkStart(need.files);
    case 'host':
      return await host.checkParts(need.definition);
    case 'memory image':
      await memory.check(need.memory.path);
      return await host.checkRestore(domain, need.memory, need.definition);
    case 'host memory':
      return await host.checkMemory(domain, need.definition, need.image);
    case 'backing chains':
      return await checkChains(images, snapshot, others);
  }
}
