/** Changes are noticed without asking: what xenstore-watch prints, and what happens in the folders of files. */

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Watches } from '../../../../src/hosts/xl/watches.ts';
import { until } from '../../../support/until.ts';

let folder: string;
let changes: number;
let logged: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'watches-'));
  changes = 0;
  logged = [];
});

afterEach(() => rm(folder, { recursive: true }));

async function watching(script: string): Promise<Watches> {
  const name = join(folder, 'program');
  await writeFile(name, `#!/bin/sh\n${script}\n`);
  await chmod(name, 0o755);
  const options = {
    folders: [folder, '/nowhere'],
    changed: () => void changes++,
    log: (text: string) => logged.push(text),
  };
  return new Watches(options, { name, debianPackage: 'xenstore-utils' });
}

test("each line of xenstore's watches is a change", async () => {
  using _watches = await watching('echo @releaseDomain; exec sleep 30');
  await until(() => changes > 0);
  expect(logged).toEqual([]);
});

test('a file that is written is a change', async () => {
  using _watches = await watching('exec sleep 30');
  await writeFile(join(folder, 'vm.cfg'), '');
  await until(() => changes > 0);
});

test('if the program ends, or is not there, the log says what that means', async () => {
  using _watches = await watching('exit 1');
  await until(() => logged.length > 0);
  expect(logged).toEqual([expect.stringMatching(/^clients are not notified of guests that start and end by xl/)]);
});
