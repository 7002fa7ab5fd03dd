// The stored snapshots of one domain: loading them at start-up, and listing them afterwards.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LIST } from '../../dist/model/flags.js';
import { DomainSnapshots } from '../../dist/snapshots/domain-snapshots.js';
import { listOfDomain } from '../../dist/snapshots/list.js';
import { SnapshotFiles } from '../../dist/store/snapshot-files.js';
import { documentOf } from './documents.mjs';

const DOMAIN = { name: 'guest', uuid: '11111111-2222-3333-4444-777777777777', id: -1 };
const SIZE = 3 * 1024;
/** Children of each snapshot. */
const BRANCHES = 4;
/** Lists are short work: so many are taken together. */
const LISTS = 50;

/** Loads a folder of `count` files; what `use` is given is gone afterwards. */
async function withFolder(count, use) {
  const folder = await mkdtemp(join(tmpdir(), 'xlsnap-bench-'));
  try {
    await mkdir(join(folder, DOMAIN.name));
    for (let i = 0; i < count; i++) {
      const parent = i === 0 ? undefined : `s${Math.floor((i - 1) / BRANCHES)}`;
      await writeFile(join(folder, DOMAIN.name, `s${i}.xml`), documentOf(SIZE, `s${i}`, parent));
    }
    return await use(() => DomainSnapshots.load(DOMAIN, new SnapshotFiles(folder, complain), complain));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function complain(text) {
  throw new Error(text);
}

const load = (count) =>
  withFolder(count, async (open) => {
    const start = performance.now();
    const { tree } = await open();
    const took = performance.now() - start;
    if (tree.size !== count) throw new Error(`${tree.size} of ${count} files were loaded`);
    return took;
  });

const list = (flags) => (count) =>
  withFolder(count, async (open) => {
    const snapshots = await open();
    const start = performance.now();
    for (let i = 0; i < LISTS; i++) listOfDomain(snapshots, flags);
    return (performance.now() - start) / LISTS;
  });

export const title = 'snapshots of one domain';
export const rows = {
  'load at start-up': load,
  list: list(0),
  'list leaves': list(LIST.LEAVES),
  'list, parents first': list(LIST.TOPOLOGICAL),
};
