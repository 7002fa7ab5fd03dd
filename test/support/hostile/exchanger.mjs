// The owner of a folder who means harm: `node exchanger.mjs FILE OTHER`, started as root and then user nobody. It exchanges the two
// files all the time.

import { renameSync } from 'node:fs';
import { become } from './become.mjs';

const NOBODY = 65_534;
/** How long it leaves each in place. */
const LEFT_MS = 1;

const [, , file, other] = process.argv;
become(NOBODY);

const clock = new Int32Array(new SharedArrayBuffer(4));
let ready = false;
while (true) {
  try {
    renameSync(file, `${file}.away`);
    renameSync(other, file);
    renameSync(`${file}.away`, other);
    if (!ready) process.stdout.write('exchanged\n');
    ready = true;
  } catch {
    // It is not there just now.
  }
  Atomics.wait(clock, 0, 0, LEFT_MS);
}
