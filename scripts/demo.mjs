// npm run demo: a tour of snapshots by the real virsh on the embedded host. Needs neither root nor Xen; all files are in
// one temporary folder, which is removed at the end.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { build, setup } from './setup.mjs';

const ROOT = join(import.meta.dirname, '..');
const START_MS = 20_000;

/** The commands that are shown, in order. */
const TOUR = [
  ['virsh', 'list'],
  ['virsh', 'snapshot-create-as', 'test', 'clean', '--description', 'freshly installed'],
  ['virsh', 'snapshot-create-as', 'test', 'updated'],
  ['virsh', 'snapshot-list', 'test'],
  ['virsh', 'snapshot-list', 'test', '--tree'],
  ['virsh', 'snapshot-dumpxml', 'test', 'updated'],
  ['virsh', 'snapshot-revert', 'test', 'clean'],
  ['virsh', 'snapshot-current', 'test', '--name'],
  ['virsh', 'domstate', 'test', '--reason'],
  ['xlsnap', 'tree', 'test'],
  ['virsh', 'snapshot-delete', 'test', 'updated'],
  ['virsh', 'snapshot-delete', 'test', 'clean'],
  ['virsh', 'snapshot-list', 'test'],
];

setup('demo');
build();
const home = mkdtempSync(join(tmpdir(), 'xlsnap-demo-'));
const socket = join(home, 'sock');
/** How each program is run, and the arguments that are not shown: where to connect, and the folders of this demo. */
const PROGRAMS = {
  virsh: { run: ['virsh'], more: [] },
  xlsnap: { run: [process.execPath, join(ROOT, 'dist/cli/main.js')], more: ['--memory-dir', join(home, 'memory')] },
};
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

function show([program, ...words]) {
  const shown = words.map((word) => (word.includes(' ') ? `'${word}'` : word)).join(' ');
  process.stdout.write(`$ ${program} ${shown}\n`);
  const { run, more } = PROGRAMS[program];
  const [file, ...before] = run;
  const args = [...before, '-c', `test+unix:///default?socket=${socket}`, ...words, ...more];
  const { status } = spawnSync(file, args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${program} ${words[0]} failed with exit code ${status}`);
}
