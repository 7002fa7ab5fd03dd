/**
 * The disks of a revert (libvirt's rule since 9.9): an overlay's base is a snapshot's state and stays as it is, so the
 * domain gets a fresh overlay on it; an internal snapshot is put back into its image; a disk that the snapshot left out
 * stays as it is. A drive gets the medium that the snapshot's definition names: the guest has it mounted.
 */

import { basename, dirname, join } from 'node:path';
import { LibvirtError } from '../../errors.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import type { DiskSnapshot, SnapshotDef } from '../../model/snapshot.ts';
import { externalDisks, overlaysOf, stateOf } from '../chains/snapshot-images.ts';

/** The plan for the disks. */
export interface RevertDisks {
  /** The active image of each disk afterwards, by target, if it is not the one in the snapshot's definition. */
  readonly images: ReadonlyMap<string, DiskImage>;
  /** Overlays to be made before anything else. */
  readonly overlays: readonly LibxlDiskSnapshot[];
  /** The snapshot with its new overlays, if it has any. */
  readonly snapshot: SnapshotDef;
  /** Overlays that nothing needs once the revert is done: what was written since the last snapshot. */
  readonly abandoned: readonly DiskImage[];
}

/** The disks before the revert, and the other snapshots. */
export interface RevertFrom {
  /** The active image of each disk now, by target. */
  readonly tips: ReadonlyMap<string, DiskImage>;
  /** All other snapshots of the domain. */
  readonly others: readonly SnapshotDef[];
  /** Paths of the snapshot's overlays whose files exist. */
  readonly present: ReadonlySet<string>;
  /** The suffix of new overlays; no file of such a name may exist. */
  readonly suffix: string;
}

/** Pure: no I/O. */
export function planRevertDisks(snapshot: SnapshotDef, { tips, others, present, suffix }: RevertFrom): RevertDisks {
  const all = [snapshot, ...others];
  const external = new Set(externalDisks(snapshot));
  const images = new Map<string, DiskImage>();
  const fresh: DiskSnapshot[] = [];
  for (const { name: disk, location } of snapshot.disks) {
    const tip = tips.get(disk);
    const isLeftOut = location !== 'internal' && !external.has(disk) && !isRemovable(snapshot, disk);
    if (isLeftOut && tip && stateOf(snapshot, disk)) images.set(disk, tip);
    if (!external.has(disk)) continue;
    const base = stem(snapshot, disk);
    // Images may differ in their last extension alone; then the disk's name distinguishes their overlays.
    const short = withEnding(base, suffix);
    const isTaken = fresh.some(({ target }) => target?.path === short);
    const path = isTaken ? withEnding(base, `${disk}.${suffix}`) : short;
    fresh.push({ name: disk, location: 'external', target: { type: 'file', format: 'qcow2', path } });
    images.set(disk, { path, format: 'qcow2' });
  }
  const abandoned = [...tips].flatMap(([disk, tip]) => {
    const isOverlay = all.some((one) => overlaysOf(one, disk).some(({ path }) => path === tip.path));
    const isState = all.some((one) => stateOf(one, disk)?.path === tip.path);
    return isOverlay && !isState && images.get(disk)?.path !== tip.path ? [tip] : [];
  });
  return {
    images,
    overlays: overlaysToMake(snapshot, fresh),
    snapshot: withOverlays(snapshot, fresh, { tips, others, present }),
    abandoned,
  };
}

/**
 * The new overlays replace those in `<disks>` if these are gone or are removed now; else they are `<revertDisks>`.
 * Overlays that are kept stay listed, so that deleting this snapshot removes them; other snapshots use or used them.
 */
function withOverlays(
  snapshot: SnapshotDef,
  fresh: readonly DiskSnapshot[],
  { tips, others, present }: Pick<RevertFrom, 'tips' | 'others' | 'present'>,
): SnapshotDef {
  if (fresh.length === 0) return snapshot;
  const stays = ({ name, location, target }: DiskSnapshot): boolean => {
    if (location !== 'external' || target?.path === undefined) return false;
    if (others.some((other) => stateOf(other, name)?.path === target.path)) return true;
    return present.has(target.path) && tips.get(name)?.path !== target.path;
  };
  const revertDisks = snapshot.revertDisks.filter(stays);
  if (snapshot.disks.some(stays)) return { ...snapshot, revertDisks: [...revertDisks, ...fresh] };
  const disks = snapshot.disks.map((disk) => fresh.find(({ name }) => name === disk.name) ?? disk);
  return { ...snapshot, disks, revertDisks };
}

function overlaysToMake({ domain }: SnapshotDef, fresh: readonly DiskSnapshot[]): readonly LibxlDiskSnapshot[] {
  const disks = domain?.disks ?? [];
  return fresh.flatMap(({ name, target }) => {
    const disk = disks.find((candidate) => candidate.target === name);
    if (!disk || target?.path === undefined) return [];
    const overlay = { external: true, external_format: 'qcow2', external_path: target.path } as const;
    return [{ disk: libxlDeviceDisk(disk), ...overlay }];
  });
}

/** The longest file name, in bytes. */
const NAME_BYTES = 255;

function isRemovable({ domain }: SnapshotDef, disk: string): boolean {
  const device = domain?.disks.find(({ target }) => target === disk)?.device;
  return device === 'cdrom' || device === 'floppy';
}

/** `/d/a` and `1700` give `/d/a.1700`; a name that would be too long is cut before its ending. */
function withEnding(path: string, ending: string): string {
  const name = [...basename(path)];
  while (Buffer.byteLength(`${name.join('')}.${ending}`) > NAME_BYTES) name.pop();
  return join(dirname(path), `${name.join('')}.${ending}`);
}

/**
 * `/d/a.qcow2` gives `/d/a`. Files cannot be put next to a block device: then an overlay of the snapshot that is a file
 * gives the name.
 */
function stem(snapshot: SnapshotDef, disk: string): string {
  const { domain } = snapshot;
  const isFile = domain?.disks.find(({ target }) => target === disk)?.type === 'file';
  // A new file beside an overlay on a block device would be in /dev: in memory, and gone with the host's next start.
  const overlay = [...snapshot.disks, ...snapshot.revertDisks].find(
    ({ name, location, target }) => name === disk && location === 'external' && target?.type !== 'block',
  )?.target;
  const path = isFile ? domain?.images.get(disk)?.path : overlay?.path;
  if (path !== undefined) return path.replace(/\.[^./]*$/, '');
  throw new LibvirtError(
    'OPERATION_UNSUPPORTED',
    `source disk for '${disk}' is not a regular file, reverting to snapshot is not supported: its overlay is on a block ` +
      'device, too; take snapshots of this disk with an overlay in a file, --diskspec DISK,file=/PATH',
  );
}
