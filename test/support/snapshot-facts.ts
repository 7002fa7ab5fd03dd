/** Snapshots as the commands that show them see them. */

import type { CapturedDisk, DomainFacts, SnapshotOnDisk } from '../../src/cli/storage/domain-facts.ts';
import type { DiskImage } from '../../src/model/disk-image.ts';

export const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/** An internal snapshot of a running domain, 100 seconds after the epoch, unless `more` says otherwise. */
export function factsOf(name: string, more: Partial<SnapshotOnDisk> = {}): SnapshotOnDisk {
  return {
    name,
    creationTime: 100n,
    state: 'running',
    kind: 'internal',
    current: false,
    disks: [],
    overlays: [],
    ...more,
  };
}

export function domainOf(
  snapshots: readonly SnapshotOnDisk[],
  images: Readonly<Record<string, DiskImage>> = {},
  id = 1,
): DomainFacts {
  const state = id < 0 ? 'shutoff' : 'running';
  return { domain: { name: 'vm', uuid: UUID, id }, state, snapshots, images: new Map(Object.entries(images)) };
}

export function qcow2(path: string): DiskImage {
  return { path, format: 'qcow2' };
}

/** A disk inside its image, or with an overlay. */
export function diskOf(target: string, path: string, overlay?: string): CapturedDisk {
  const part = { disk: { vdev: target, pdev_path: path, format: 'qcow2', backend: 'qdisk' } } as const;
  if (overlay === undefined) return { target, image: qcow2(path), part: { ...part, name: 's' } };
  const layer = { ...qcow2(overlay), allocatedBytes: 0, removed: false };
  return { target, image: qcow2(path), part: { ...part, external: true, external_path: overlay }, overlay: layer };
}
