/** Volumes of ZFS (zvols): `pool/vm@xlsnap.NAME`. A change is durable when `zfs` returns. */

import { LibvirtError } from '../../errors.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { allOrNothing } from '../all-or-nothing.ts';
import { type Program, runProgram } from '../program.ts';
import type { StorageBackend } from '../storage-backend.ts';
import { escapeName, unescapeName } from './escape-name.ts';

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

/** Internal snapshots of ZFS volumes. */
export const ZFS: StorageBackend = {
  name: 'zfs',
  programs: [ZFS_PROGRAM],
  location: 'internal',
  servedBy: 'phy',

  async refusal({ pdev_path: path = '' }) {
    return datasetOf(path) === undefined ? `as a ZFS volume ('${path}' is not in ${ZVOL_FOLDER})` : undefined;
  },

  async checkFree(name, disks) {
    for (const zvol of disks.map(zvolOf)) {
      const snapshot = snapshotName(zvol, name);
      if (!(await snapshotsOf(zvol)).includes(snapshot)) continue;
      const text = `disk '${zvol.disk}' already has a snapshot '${snapshot}': choose another name`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
  },

  async create(name, disks) {
    const all = disks.map(zvolOf);
    return await allOrNothing([...new Set(all.map(poolOf))], async (pool) => {
      // One pool takes all of its volumes in one transaction.
      const zvols = all.filter((zvol) => poolOf(zvol) === pool);
      const snapshots = zvols.map((zvol) => snapshotName(zvol, name));
      await zfs(['snapshot', ...snapshots], `cannot create ${listOf(name, zvols)}`);
      return zvols.map((zvol) => () => destroy(zvol, name));
    });
  },

  async check(name, disks) {
    for (const zvol of disks.map(zvolOf)) await requireLatest(zvol, name, 'OPERATION_INVALID');
  },

  async revert(name, disks) {
    const zvols = disks.map(zvolOf);
    for (const zvol of zvols) await requireLatest(zvol, name, 'OPERATION_FAILED');
    for (const zvol of zvols)
      await zfs(['rollback', snapshotName(zvol, name)], `cannot revert ${listOf(name, [zvol])}`);
  },

  /** ZFS says itself what keeps a snapshot: clones of it, for instance. */
  async checkDelete(disk, names) {
    const zvol = zvolOf({ disk });
    const there = await snapshotsOf(zvol);
    for (const name of names.filter((each) => there.includes(snapshotName(zvol, each))))
      await destroy(zvol, name, '-n');
  },

  async delete(name, disks) {
    for (const zvol of disks.map(zvolOf)) {
      if ((await snapshotsOf(zvol)).includes(snapshotName(zvol, name))) await destroy(zvol, name);
    }
  },

  /** The name is enough: nobody else makes a snapshot of such a name. */
  async fingerprint(name) {
    return name;
  },

  async list(disk) {
    const zvol = zvolOf({ disk });
    const prefix = `${zvol.dataset}${INFIX}`;
    return (await snapshotsOf(zvol)).flatMap((place) => {
      const snapshot = place.startsWith(prefix) ? unescapeName(place.slice(prefix.length), PLAIN, MARK) : undefined;
      return snapshot === undefined ? [] : [{ snapshot, place, isOurs: true }];
    });
  },
};

/** The dataset of a zvol's device node; undefined for any other path. */
function datasetOf(path: string): string | undefined {
  return path.startsWith(ZVOL_FOLDER) ? path.slice(ZVOL_FOLDER.length) : undefined;
}

function zvolOf({ disk }: Pick<LibxlDiskSnapshot, 'disk'>): Zvol {
  const dataset = datasetOf(disk.pdev_path ?? '');
  if (dataset !== undefined) return { disk: disk.vdev, dataset };
  throw new LibvirtError('CONFIG_UNSUPPORTED', `disk '${disk.vdev}' is not a ZFS volume`);
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

/** A snapshot or a bookmark, and the transaction that made it. */
interface Mark {
  readonly name: string;
  readonly txg: number;
}

/** Oldest first. A bookmark has the transaction of its snapshot. */
async function marksOf({ disk, dataset }: Zvol): Promise<readonly Mark[]> {
  const args = ['-H', '-t', 'snapshot,bookmark', '-d', '1', '-o', 'createtxg,name', '-s', 'createtxg', dataset];
  const lines = await zfs(['list', ...args], `cannot read the snapshots of volume '${dataset}' of disk '${disk}'`);
  return lines.split('\n').flatMap((line) => {
    const [txg, name] = line.split('\t');
    return name === undefined ? [] : [{ name, txg: Number(txg) }];
  });
}

async function snapshotsOf(zvol: Zvol): Promise<readonly string[]> {
  return (await marksOf(zvol)).map(({ name }) => name).filter((name) => name.includes('@'));
}

/** A rollback destroys every newer snapshot and bookmark, so there must be none: they may be somebody else's. */
async function requireLatest(zvol: Zvol, name: string, code: 'OPERATION_FAILED' | 'OPERATION_INVALID'): Promise<void> {
  const { disk, dataset } = zvol;
  const marks = await marksOf(zvol);
  const snapshot = marks.find((mark) => mark.name === snapshotName(zvol, name));
  if (!snapshot) {
    const text = `volume '${dataset}' of disk '${disk}' has no snapshot '${name}'`;
    throw new LibvirtError(code, text, { reason: 'snapshot-gone' });
  }
  const newer = marks.filter(({ txg }) => txg > snapshot.txg);
  if (newer.length === 0) return;
  const text = `volume '${dataset}' of disk '${disk}' cannot be reverted to snapshot '${name}': ZFS would destroy the newer ${newer.map((each) => `'${each.name}'`).join(', ')}; delete them first`;
  throw new LibvirtError(code, text);
}

/** `-n`: only says whether it could. */
async function destroy(zvol: Zvol, name: string, ...options: readonly '-n'[]): Promise<void> {
  await zfs(['destroy', ...options, snapshotName(zvol, name)], `cannot delete ${listOf(name, [zvol])}`);
}

function listOf(name: string, zvols: readonly Zvol[]): string {
  return `snapshot '${name}' of ${zvols.map(({ disk }) => `disk '${disk}'`).join(', ')}`;
}

function zfs(args: readonly string[], failure: string): Promise<string> {
  return runProgram(ZFS_PROGRAM, args, failure);
}
