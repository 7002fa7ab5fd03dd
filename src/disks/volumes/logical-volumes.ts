/** Logical volumes of LVM: which one a disk is, what `lvs` reports of its group, and the commands that change one. */

import { createHash } from 'node:crypto';
import { LibvirtError } from '../../errors.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { type Program, runProgram } from '../program.ts';
import { escapeName, unescapeName } from './escape-name.ts';

/** The package that has LVM's programs. */
export const LVM2 = { debianPackage: 'lvm2' };

/** All programs of LVM that are used here. */
export const LVM_PROGRAMS: readonly Program[] = [
  'lvs',
  'lvcreate',
  'lvremove',
  'lvrename',
  'lvchange',
  'lvconvert',
].map((name) => ({ name, ...LVM2 }));

/** The device mapper's names have 127 characters; LVM adds up to five of its own (`-real`). */
const MAX_DEVICE_NAME = 122;
/** Of LVM's unit `s`. */
const SECTOR_BYTES = 512;

/** A thick snapshot that holds nothing, with room for LVM's tables. */
export const EMPTY_SNAPSHOT_BYTES = 1 << 20;

/** `vm.xlsnap.before+20upgrade` */
const INFIX = '.xlsnap.';
const PLAIN = /[A-Za-z0-9.-]/;
const MARK = '+';

/** A volume as `lvs --binary` reports it; a flag of an inactive volume may be unknown (-1). */
export interface Volume {
  readonly lv_name: string;
  /** The pool of a thin volume; empty for a thick one. */
  readonly pool_lv: string;
  readonly lv_tags: string;
  readonly lv_device_open: Flag;
  readonly lv_snapshot_invalid: Flag;
  /**
   * Of an origin: a snapshot is being merged into it, or will be when it is activated next. LVM hides that snapshot.
   */
  readonly lv_merging: Flag;
  /** Of its device; `-1` if it is not active. */
  readonly lv_kernel_major: string;
  readonly lv_kernel_minor: string;
  /** Bytes; of a snapshot, of what it can hold. */
  readonly lv_size: string;
  /** How much of a snapshot is used, in percent with two decimals; empty for other volumes. */
  readonly data_percent: string;
  /** Of its group: bytes. */
  readonly vg_free: string;
  readonly vg_extent_size: string;
}

type Flag = '1' | '0' | '-1';

const REPORTED: readonly (keyof Volume)[] = [
  'lv_name',
  'pool_lv',
  'lv_tags',
  'lv_device_open',
  'lv_snapshot_invalid',
  'lv_merging',
  'lv_kernel_major',
  'lv_kernel_minor',
  'lv_size',
  'data_percent',
  'vg_free',
  'vg_extent_size',
];

/** A disk's volume. */
export interface LogicalVolume {
  readonly disk: string;
  readonly vg: string;
  readonly lv: string;
}

/** The volumes of its group, by name. */
export type Group = ReadonlyMap<string, Volume>;

/** Refuses a device that is not a logical volume, in LVM's words. */
export async function requireVolume(path: string): Promise<void> {
  const volume = parsePath(path);
  if (!volume) throw new LibvirtError('OPERATION_FAILED', `'${path}' is not a volume`);
  requireOne(await groupOf({ disk: path, ...volume }), { disk: path, ...volume });
}

/** `/dev/VG/LV`, or the device mapper's name of it, in which a hyphen of the names is doubled. */
function parsePath(path: string): { readonly vg: string; readonly lv: string } | undefined {
  const [, vg, lv] = /^\/dev\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  if (vg === undefined || lv === undefined) return undefined;
  if (vg !== 'mapper') return { vg, lv };
  const [, mappedVg, mappedLv] = /^((?:[^-]|--)+)-((?:[^-]|--)+)$/.exec(lv) ?? [];
  if (mappedVg === undefined || mappedLv === undefined) return undefined;
  return { vg: mappedVg.replaceAll('--', '-'), lv: mappedLv.replaceAll('--', '-') };
}

/** Returns the logical volume of a disk. Refuses (67) a disk on anything else. */
export function volumeOf({ disk }: Pick<LibxlDiskSnapshot, 'disk'>): LogicalVolume {
  const volume = parsePath(disk.pdev_path ?? '');
  if (!volume) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}' is not a logical volume`);
  return { disk: disk.vdev, ...volume };
}

/** `vm.xlsnap.before+20upgrade`, or a digest if that would be too long. */
export function snapshotName({ vg, lv }: LogicalVolume, name: string): string {
  const readable = `${lv}${INFIX}${escapeName(name, PLAIN, MARK)}`;
  if (`${vg}-${readable}`.replaceAll('-', '--').length <= MAX_DEVICE_NAME) return readable;
  return `xlsnap-${createHash('sha256').update(`${lv}/${name}`).digest('hex').slice(0, 32)}`;
}

/** The snapshot whose volume has this name; undefined for a digest, and for a volume that xlsnap has not made. */
export function snapshotOf({ lv }: LogicalVolume, name: string): string | undefined {
  const prefix = `${lv}${INFIX}`;
  return name.startsWith(prefix) ? unescapeName(name.slice(prefix.length), PLAIN, MARK) : undefined;
}

/** The volume's name during a revert: a thin one is replaced, a thick one is merged into. */
export function replacedName(lv: string): string {
  return `${lv}.xlsnap-old`;
}

/** The snapshot that takes a thin volume's place in a revert. */
export function freshName(lv: string): string {
  return `${lv}.xlsnap-new`;
}

/** The snapshot that holds, during a revert of several disks, what the volume held before. */
export function beforeName(lv: string): string {
  return `${lv}.xlsnap-pre`;
}

/** Reads the volumes of the volume's group. */
export async function groupOf({ disk, vg }: LogicalVolume): Promise<Group> {
  const units = ['--units', 'b', '--nosuffix'];
  const args = ['--reportformat', 'json', '--binary', ...units, '-o', REPORTED.join(','), '--', vg];
  const json = await lvm('lvs', args, `cannot read volume group '${vg}' of disk '${disk}'`);
  const { report } = JSON.parse(json) as { report: readonly { lv: readonly Volume[] }[] };
  return new Map(report.flatMap(({ lv }) => lv).map((volume) => [volume.lv_name, volume]));
}

/** The volume, under its other name if a revert was interrupted. Refuses one that does not exist. */
export function requireOne(group: Group, { disk, vg, lv }: LogicalVolume): Volume {
  const found = group.get(lv) ?? group.get(replacedName(lv));
  if (found) return found;
  throw new LibvirtError('OPERATION_FAILED', `volume group '${vg}' has no volume '${lv}' (disk '${disk}')`);
}

/** Returns the name of the snapshot's volume. Refuses a snapshot that is missing or has become invalid. */
export function requireSnapshot(
  group: Group,
  volume: LogicalVolume,
  name: string,
  code: 'OPERATION_FAILED' | 'OPERATION_INVALID',
): string {
  const { disk, vg, lv } = volume;
  const snapshot = snapshotName(volume, name);
  const found = group.get(snapshot);
  const of = `volume '${vg}/${lv}' of disk '${disk}'`;
  if (!found) {
    const text = `${of} has no snapshot '${name}' (volume '${snapshot}')`;
    throw new LibvirtError(code, text, { reason: 'snapshot-gone' });
  }
  if (found.lv_snapshot_invalid === '1') {
    const text = `snapshot '${name}' of ${of} (volume '${snapshot}') is invalid: it has overflowed and can only be deleted`;
    throw new LibvirtError(code, text, { reason: 'snapshot-gone' });
  }
  return snapshot;
}

/**
 * A thick snapshot has the size of its origin, with LVM's own tables: one that overflows is lost, and what a guest will
 * write cannot be known. `bytes`: its size if that is known. A thin one takes its space from the pool.
 */
export async function createSnapshot(
  { vg, lv }: LogicalVolume,
  { pool_lv }: Volume,
  snapshot: string,
  failure: string,
  bytes?: number,
): Promise<void> {
  // LVM refuses sizes that are not whole sectors, and rounds up to extents by itself.
  const thick = bytes === undefined ? ['-l', '100%ORIGIN'] : ['-L', `${Math.ceil(bytes / SECTOR_BYTES)}s`];
  const size = pool_lv === '' ? thick : [];
  await lvm('lvcreate', ['-y', '-s', ...size, '-n', snapshot, '--', `${vg}/${lv}`], failure);
}

/** Renames a volume of the group. */
export async function rename({ disk, vg }: LogicalVolume, from: string, to: string): Promise<void> {
  await lvm('lvrename', ['--', vg, from, to], `cannot rename volume '${vg}/${from}' of disk '${disk}' to '${to}'`);
}

/** Removes a volume of the group. */
export async function remove({ disk, vg }: LogicalVolume, lv: string): Promise<void> {
  await lvm('lvremove', ['-y', '--', `${vg}/${lv}`], `cannot remove volume '${vg}/${lv}' of disk '${disk}'`);
}

/** Runs a program of LVM and returns its output. `failure`: what the error message begins with. */
export function lvm(name: string, args: readonly string[], failure: string): Promise<string> {
  return runProgram({ name, ...LVM2 }, args, failure);
}
