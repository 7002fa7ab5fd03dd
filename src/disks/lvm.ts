/**
 * Logical volumes of LVM, thin and thick. What libvirt calls an internal snapshot is here a snapshot volume in the same
 * volume group, named after volume and snapshot. LVM writes its metadata through: what has returned is durable.
 */

import { createHash } from 'node:crypto';
import { LibvirtError } from '../errors.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { escapeName, unescapeName } from './escape-name.ts';
import { runLongProgram, runProgram } from './program.ts';
import { takeBack } from './take-back.ts';
import type { ListedVolumeSnapshots } from './volume-snapshots.ts';

const LVM2 = { debianPackage: 'lvm2' };

/** The device mapper's names have 127 characters; LVM adds up to five of its own (`-real`). */
const MAX_DEVICE_NAME = 122;

/** `vm.xlsnap.before+20upgrade` */
const INFIX = '.xlsnap.';
const PLAIN = /[A-Za-z0-9.-]/;
const MARK = '+';

/** A volume as `lvs --binary` reports it; a flag of a volume that is not active may be unknown. */
interface Volume {
  readonly lv_name: string;
  /** The pool of a thin volume; empty for a thick one. */
  readonly pool_lv: string;
  readonly lv_tags: string;
  readonly lv_device_open: Flag;
  readonly lv_snapshot_invalid: Flag;
}

type Flag = '1' | '0' | '-1';

const REPORTED = ['lv_name', 'pool_lv', 'lv_tags', 'lv_device_open', 'lv_snapshot_invalid'];

/** A disk's volume. */
interface LogicalVolume {
  readonly disk: string;
  readonly vg: string;
  readonly lv: string;
}

/** The volumes of its group, by name. */
type Group = ReadonlyMap<string, Volume>;

export const LVM: ListedVolumeSnapshots = {
  async create(name, disks) {
    await LVM.checkFree(name, disks);
    const made: (() => Promise<void>)[] = [];
    try {
      for (const volume of disks.map(volumeOf)) {
        await createSnapshot(volume, name);
        made.push(() => remove(volume, snapshotName(volume, name)));
      }
    } catch (error) {
      throw await takeBack(made, error);
    }
  },

  async checkFree(name, disks) {
    for (const volume of disks.map(volumeOf)) {
      const taken = snapshotName(volume, name);
      if (!(await groupOf(volume)).has(taken)) continue;
      const text = `disk '${volume.disk}' already has a snapshot volume '${volume.vg}/${taken}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  async apply(name, disks) {
    const volumes = disks.map(volumeOf);
    for (const volume of volumes) await refuseOpen(volume, name);
    for (const volume of volumes) {
      const { pool_lv } = requireOne(await groupOf(volume), volume);
      await (pool_lv === '' ? applyThick(volume, name) : applyThin(volume, name));
    }
  },

  async delete(name, disks) {
    for (const volume of disks.map(volumeOf)) {
      const snapshot = snapshotName(volume, name);
      if ((await groupOf(volume)).has(snapshot)) await remove(volume, snapshot);
    }
  },

  async list(disk) {
    const volume = volumeOf({ disk });
    const prefix = `${volume.lv}${INFIX}`;
    return [...(await groupOf(volume)).keys()].flatMap((lv) => {
      const snapshot = lv.startsWith(prefix) ? unescapeName(lv.slice(prefix.length), PLAIN, MARK) : undefined;
      return snapshot === undefined ? [] : [{ snapshot, volume: `${volume.vg}/${lv}` }];
    });
  },

  async check(name, disks, open) {
    for (const snapshot of disks) {
      const volume = volumeOf(snapshot);
      const group = await groupOf(volume);
      const origin = requireOne(group, volume);
      if (!isReverting(origin, name)) requireSnapshot(group, volume, name, 'OPERATION_INVALID');
      if (origin.lv_device_open === '1' && !open.has(snapshot.disk.pdev_path ?? '')) {
        const text = `volume '${volume.vg}/${volume.lv}' of disk '${volume.disk}' is in use by somebody else`;
        throw new LibvirtError('OPERATION_INVALID', text);
      }
    }
  },
};

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

function volumeOf({ disk }: Pick<LibxlDiskSnapshot, 'disk'>): LogicalVolume {
  const volume = parsePath(disk.pdev_path ?? '');
  if (!volume) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}' is no logical volume`);
  return { disk: disk.vdev, ...volume };
}

/** `vm.xlsnap.before+20upgrade`, or a digest where that would be too long. */
function snapshotName({ vg, lv }: LogicalVolume, name: string): string {
  const readable = `${lv}${INFIX}${escapeName(name, PLAIN, MARK)}`;
  if (`${vg}-${readable}`.replaceAll('-', '--').length <= MAX_DEVICE_NAME) return readable;
  return `xlsnap-${createHash('sha256').update(`${lv}/${name}`).digest('hex').slice(0, 32)}`;
}

/** On the origin while a merge and what comes after it are under way: the snapshot itself vanishes in between. */
function revertTag(name: string): string {
  return `xlsnap.revert.${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

function isReverting({ lv_tags }: Volume, name: string): boolean {
  return lv_tags.split(',').includes(revertTag(name));
}

async function groupOf({ disk, vg }: LogicalVolume): Promise<Group> {
  const args = ['--reportformat', 'json', '--binary', '-o', REPORTED.join(','), '--', vg];
  const json = await lvm('lvs', args, `cannot read volume group '${vg}' of disk '${disk}'`);
  const { report } = JSON.parse(json) as { report: readonly { lv: readonly Volume[] }[] };
  return new Map(report.flatMap(({ lv }) => lv).map((volume) => [volume.lv_name, volume]));
}

/** The volume; or, where a revert was interrupted between its two renames, the one that it replaces. */
function requireOne(group: Group, { disk, vg, lv }: LogicalVolume): Volume {
  const found = group.get(lv) ?? group.get(replacedName(lv));
  if (found) return found;
  throw new LibvirtError('OPERATION_FAILED', `volume group '${vg}' has no volume '${lv}' (disk '${disk}')`);
}

function requireSnapshot(
  group: Group,
  volume: LogicalVolume,
  name: string,
  code: 'OPERATION_FAILED' | 'OPERATION_INVALID',
): string {
  const { disk, vg, lv } = volume;
  const snapshot = snapshotName(volume, name);
  const found = group.get(snapshot);
  const of = `volume '${vg}/${lv}' of disk '${disk}'`;
  if (!found) throw new LibvirtError(code, `${of} has no snapshot '${name}' (volume '${snapshot}')`);
  if (found.lv_snapshot_invalid === '1') {
    throw new LibvirtError(
      code,
      `snapshot '${name}' of ${of} (volume '${snapshot}') is invalid: it has overflowed and can only be deleted`,
    );
  }
  return snapshot;
}

/** A guest would go on with the replaced volume; and LVM would put a merge off. */
async function refuseOpen(volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  if (requireOne(await groupOf(volume), volume).lv_device_open !== '1') return;
  const text = `cannot revert disk '${disk}' to snapshot '${name}': volume '${vg}/${lv}' is in use: whoever has it open must close it`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/**
 * A thick snapshot has the size of its origin, with LVM's own tables: one that overflows is lost, and what a guest will
 * write cannot be known. A thin one takes its space from the pool.
 */
async function createSnapshot(volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  const { pool_lv } = requireOne(await groupOf(volume), volume);
  const size = pool_lv === '' ? ['-l', '100%ORIGIN'] : [];
  const args = ['-y', '-s', ...size, '-n', snapshotName(volume, name), '--', `${vg}/${lv}`];
  await lvm('lvcreate', args, `cannot create snapshot '${name}' of disk '${disk}'`);
}

/**
 * The volume becomes a new snapshot of the snapshot, by two renames; the snapshot itself stays. Whatever an interrupted
 * attempt has left is cleared away first, so it can be run again.
 */
async function applyThin(volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  const [replaced, fresh] = [replacedName(lv), `${lv}.xlsnap-new`];
  const group = await groupOf(volume);
  const snapshot = requireSnapshot(group, volume, name, 'OPERATION_FAILED');
  if (group.has(replaced)) await (group.has(lv) ? remove(volume, replaced) : rename(volume, replaced, lv));
  if (group.has(fresh)) await remove(volume, fresh);
  const failure = `cannot revert disk '${disk}' to snapshot '${name}'`;
  // -kn: it is activated as any volume, which snapshots are not.
  await lvm('lvcreate', ['-y', '-s', '-kn', '-n', fresh, '--', `${vg}/${snapshot}`], failure);
  await rename(volume, lv, replaced);
  try {
    await rename(volume, fresh, lv);
  } catch (error) {
    await rename(volume, replaced, lv);
    throw error;
  }
  await remove(volume, replaced);
}

/**
 * The snapshot is merged into its origin, which uses it up, and taken anew. The tag says at what the work was when it was
 * interrupted.
 */
async function applyThick(volume: LogicalVolume, name: string): Promise<void> {
  const { disk, vg, lv } = volume;
  const failure = `cannot revert disk '${disk}' to snapshot '${name}'`;
  const [group, origin, tag] = [await groupOf(volume), `${vg}/${lv}`, revertTag(name)];
  const merged = isReverting(requireOne(group, volume), name) && !group.has(snapshotName(volume, name));
  if (!merged) {
    const snapshot = requireSnapshot(group, volume, name, 'OPERATION_FAILED');
    await lvm('lvchange', ['--addtag', tag, '--', origin], failure);
    // It copies back what has changed: no time limit fits.
    await runLongProgram({ name: 'lvconvert', ...LVM2 }, ['-y', '--merge', '--', `${vg}/${snapshot}`], failure);
    if ((await groupOf(volume)).has(snapshot)) {
      throw new LibvirtError('OPERATION_FAILED', `${failure}: '${vg}/${snapshot}' is still being merged`);
    }
  }
  await createSnapshot(volume, name);
  await lvm('lvchange', ['--deltag', tag, '--', origin], failure);
}

function replacedName(lv: string): string {
  return `${lv}.xlsnap-old`;
}

async function rename({ disk, vg }: LogicalVolume, from: string, to: string): Promise<void> {
  await lvm('lvrename', ['--', vg, from, to], `cannot rename volume '${vg}/${from}' of disk '${disk}' to '${to}'`);
}

async function remove({ disk, vg }: LogicalVolume, lv: string): Promise<void> {
  await lvm('lvremove', ['-y', '--', `${vg}/${lv}`], `cannot remove volume '${vg}/${lv}' of disk '${disk}'`);
}

function lvm(name: string, args: readonly string[], failure: string): Promise<string> {
  return runProgram({ name, ...LVM2 }, args, failure);
}
