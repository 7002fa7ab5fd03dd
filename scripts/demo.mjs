// npm run demo: a tour of snapshots by the real virsh on the embedded host. No root, no Xen; everything lies in one
// temporary folder that is removed at the end.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { build, setup } from './setup.mjs';

const ROOT = join(import.meta.dirname, '..');
const START_MS = 20_000;

/** What is shown, in order: words of virsh. */
const TOUR = [
  ['list'],
  ['snapshot-create-as', 'test', 'clean', '--description', 'freshly installed'],
  ['snapshot-create-as', 'test', 'updated'],
  ['snapshot-list', 'test'],
  ['snapshot-list', 'test', '--tree'],
  ['snapshot-dumpxml', 'test', 'updated'],
  ['snapshot-revert', 'test', 'clean'],
  ['snapshot-current', 'test', '--name'],
  ['domstate', 'test', '--reason'],
  ['snapshot-delete', 'test', 'updated'],
  ['snapshot-delete', 'test', 'clean'],
  ['snapshot-list', 'test'],
];

setup('demo');
build();
const home = mkdtempSync(join(tmpdir(), 'xlsnap-demo-'));
const socket = join(home, 'sock');
const daemon = spawn(
  process.execPath,
  [
    join(ROOT, 'dist/daemon/main.js'),
    ...['--connect', 'test:///default', '--log-level', 'warning', '--listen', socket],
    ...[
      '--snapshot-dir',
      join(home, 'snapshot'),
      '--memory-dir',
      join(home, 'memory'),
      '--state-dir',
      join(home, 'state'),
    ],
  ],
  { stdio: ['ignore', 'inherit', 'inherit'] },
);
const ended = new Promise((resolve) => daemon.once('exit', resolve));

try {
  await ready();
  for (const words of TOUR) show(words);
} finally {
  daemon.kill('SIGTERM');
  await ended;
  rmSync(home, { recursive: true });
}

async function ready() {
  for (const end = Date.now() + START_MS; !existsSync(socket); await setTimeout(50)) {
    if (daemon.exitCode !== null) throw new Error(`xlsnapd ended with exit code ${daemon.exitCode}`);
    if (Date.now() > end) throw new Error(`xlsnapd was not ready after ${START_MS / 1000} s`);
  }
}

function show(words) {
  process.stdout.write(`$ virsh ${words.map((word) => (word.includes(' ') ? `'${word}'` : word)).join(' ')}\n`);
  const { status } = spawnSync('virsh', ['-c', `test+unix:///default?socket=${socket}`, ...words], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`virsh ${words[0]} failed with exit code ${status}`);
}
