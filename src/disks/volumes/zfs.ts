/** Volumes of ZFS (zvols): `pool/vm@xlsnap.NAME`. What `zfs` has returned from is durable. */

import { LibvirtError, undoAll } from '../../errors.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { type Program, runProgram } from '../program.ts';
import { escapeName, unescapeName } from './escape-name.ts';
import type { ListedVolumeSnapshots } from './volume-snapshots.ts';

const ZFS_PROGRAM: Program = { name: 'zfs', debianPackage: 'zfsutils-linux' };

/** ZFS_MAX_DATASET_NAME_LEN, without the NUL. */
const MAX_NAME_BYTES = 255;

/** `pool/vm@xlsnap.before:20upgrade` */
const INFIX = '@xlsnap.';
const PLAIN = /[A-Za-z0-9._-]/;
const MARK = ':';

const ZVOL_FOLDER = '/dev/zvol/';

interface Zvol {
  readonly disk: string;
  readonly dataset: string;
}

export const ZFS: ListedVolumeSnapshots = {
  async create(name, disks) {
    await ZFS.checkFree(name, disks);
    const all = disks.map(zvolOfDisk);
    const made: (() => Promise<void>)[] = [];
    try {
      for (const pool of new Set(all.map(poolOf))) {
        // One pool takes all of its volumes in one transaction.
        const zvols = all.filter((zvol) => poolOf(zvol) === pool);
        await zfs(
          ['snapshot', ...zvols.map((zvol) => snapshotName(zvol, name))],
          `cannot create ${listOf(name, zvols)}`,
        );
        made.push(...zvols.map((zvol) => () => destroy(zvol, name)));
      }
    } catch (error) {
      throw await undoAll(made, error);
    }
  },

  async checkFree(name, disks) {
    for (const zvol of disks.map(zvolOfDisk)) {
      const snapshot = snapshotName(zvol, name);
      if (!(await snapshotsOf(zvol)).includes(snapshot)) continue;
      throw new LibvirtError(
        'OPERATION_FAILED',
        `disk '${zvol.disk}' already has a snapshot '${snapshot}': choose another name`,
      );
    }
  },

  async apply(name, disks) {
    for (const zvol of disks.map(zvolOfDisk)) await requireLatest(zvol, name, 'OPERATION_FAILED');
    for (const zvol of disks.map(zvolOfDisk)) {
      await zfs(['rollback', snapshotName(zvol, name)], `cannot revert ${listOf(name, [zvol])}`);
    }
  },

  async delete(name, disks) {
    for (const zvol of disks.map(zvolOfDisk)) {
      if ((await snapshotsOf(zvol)).includes(snapshotName(zvol, name))) await destroy(zvol, name);
    }
  },

  async list(disk) {
    const zvol = zvolOfDisk({ disk });
    const prefix = `${zvol.dataset}${INFIX}`;
    return (await snapshotsOf(zvol)).flatMap((volume) => {
      const snapshot = volume.startsWith(prefix) ? unescapeName(volume.slice(prefix.length), PLAIN, MARK) : undefined;
      return snapshot === undefined ? [] : [{ snapshot, volume }];
    });
  },

  async check(name, disks) {
    for (const zvol of disks.map(zvolOfDisk)) await requireLatest(zvol, name, 'OPERATION_INVALID');
  },
};

/** The dataset of a zvol's device node; undefined for any other path. */
export function zvolOf(path: string): string | undefined {
  return path.startsWith(ZVOL_FOLDER) ? path.slice(ZVOL_FOLDER.length) : undefined;
}

function zvolOfDisk({ disk }: Pick<LibxlDiskSnapshot, 'disk'>): Zvol {
  const dataset = zvolOf(disk.pdev_path ?? '');
  if (dataset === undefined) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}' is no ZFS volume`);
  return { disk: disk.vdev, dataset };
}

function poolOf({ dataset }: Zvol): string {
  return dataset.split('/')[0] ?? '';
}

function snapshotName({ disk, dataset }: Zvol, name: string): string {
  const full = `${dataset}${INFIX}${escapeName(name, PLAIN, MARK)}`;
  if (Buffer.byteLength(full) <= MAX_NAME_BYTES) return full;
  const text = `snapshot name '${name}' is too long for disk '${disk}': ZFS allows ${MAX_NAME_BYTES} bytes for '${full}'`;
  throw new LibvirtError('CONFIG_UNSUPPORTED', text);
}

/** Oldest first. */
async function snapshotsOf({ disk, dataset }: Zvol): Promise<readonly string[]> {
  const args = ['list', '-H', '-t', 'snapshot', '-d', '1', '-o', 'name', '-s', 'createtxg', dataset];
  const names = await zfs(args, `cannot read the snapshots of volume '${dataset}' of disk '${disk}'`);
  return names.split('\n').filter((name) => name !== '');
}

/** A rollback destroys every newer snapshot, so there must be none: they may be somebody else's. */
async function requireLatest(zvol: Zvol, name: string, code: 'OPERATION_FAILED' | 'OPERATION_INVALID'): Promise<void> {
  const { disk, dataset } = zvol;
  const snapshots = await snapshotsOf(zvol);
  const at = snapshots.indexOf(snapshotName(zvol, name));
  if (at < 0) throw new LibvirtError(code, `volume '${dataset}' of disk '${disk}' has no snapshot '${name}'`);
  const newer = snapshots.slice(at + 1);
  if (newer.length === 0) return;
  const text = `volume '${dataset}' of disk '${disk}' cannot be reverted to snapshot '${name}': ZFS would destroy the newer ${newer.map((each) => `'${each}'`).join(', ')}; delete them first`;
  throw new LibvirtError(code, text);
}

async function destroy(zvol: Zvol, name: string): Promise<void> {
  await zfs(['destroy', snapshotName(zvol, name)], `cannot delete ${listOf(name, [zvol])}`);
}

function listOf(name: string, zvols: readonly Zvol[]): string {
  return `snapshot '${name}' of ${zvols.map(({ disk }) => `disk '${disk}'`).join(', ')}`;
}

function zfs(args: readonly string[], failure: string): Promise<string> {
  return runProgram(ZFS_PROGRAM, args, failure);
}
