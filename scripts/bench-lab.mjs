// npm run bench:lab: snapshots on real Xen, beside what xl and libvirtd do alone with the same guest in the same boot.
// The host is emulated, so only ratios mean something; and it starts programs slowly, some 40 times slower than a machine:
// what starts many, as a revert does, has a larger ratio here. Limits are shown, not held. `--quick`: two rounds, not five.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabHost } from '../test/lab/host/lab-host.mjs';
import { build, setup } from './setup.mjs';

if (!process.argv.includes('--no-setup')) {
  setup('lab');
  build();
}

const ROUNDS = process.argv.includes('--quick') ? 2 : 5;
const RAM_MIB = 512;
const GUEST = 'bench';
const DISK = `/var/lib/libvirt/images/${GUEST}.qcow2`;
const MEMORY = '/var/lib/libvirt/libxl/snapshot-memory';
const XL_IMAGE = `${MEMORY}/xl.save`;
const OURS = 'virsh -c xen:///system';
const LIBVIRTD = "virsh -c 'xen:///system?socket=/run/libvirt/libvirt-sock'";
const WATCH = 'node /mnt/lab/checkout/test/bench/guest-watch.mjs';

const COMMAND_TIMEOUT_MS = 600_000;
const TICKS_TIMEOUT_MS = 240_000;

const say = (text) => process.stdout.write(`${text}\n`);

const host = await LabHost.boot();

async function dom0(script) {
  const { rc, stdout, stderr } = await host.run(script, { timeoutMs: COMMAND_TIMEOUT_MS });
  if (rc !== 0) throw new Error(`status ${rc} in dom0 from: ${script}\n${stdout}${stderr}`);
  return stdout.toString().trim();
}

const ticks = () => readFileSync(`${host.folder}/log/console/guest-${GUEST}.log`, 'latin1').split('tick ').length;

/** The guest runs, and has nothing of its start left to do. */
async function settled() {
  const from = ticks();
  for (const deadline = Date.now() + TICKS_TIMEOUT_MS; ticks() < from + 4; await sleep(100)) {
    if (Date.now() > deadline) throw new Error(`the guest does not count; logs: ${host.folder}/log`);
  }
}

/** What guest-watch.mjs sees while a command works on the running guest. */
async function watched(image, command) {
  await settled();
  return JSON.parse(await dom0(`${WATCH} "$(${OURS} domid ${GUEST})" ${image} ${command}`));
}

/** Milliseconds of a command in dom0. */
async function timed(command) {
  return Number(await dom0(`t=\${EPOCHREALTIME/./}; ${command} >&2; echo $(((\${EPOCHREALTIME/./} - t) / 1000))`));
}

/** Milliseconds from a guest that is off to one that runs. */
async function restored(command) {
  await dom0(`${OURS} destroy ${GUEST}`);
  return await timed(command);
}

async function setUp() {
  await dom0(`start_libvirtd && start_xlsnapd /run/libvirt/virtxend-sock && qemu-img create -q -f qcow2 ${DISK} 16M`);
  await dom0(`define_guest ${GUEST} pvh ${RAM_MIB} qcow2:${DISK}`);
  await dom0(`${OURS} start ${GUEST} && wait_tick ${GUEST} 1`); // from now on there is a log of its ticks
  return await dom0(`${OURS} domuuid ${GUEST}`);
}

/** One of each, and another one first each time. */
async function round(number, uuid) {
  const [plain, live] = [`plain${number}`, `live${number}`];
  const imageOf = (name) => `${MEMORY}/${uuid}/${name}.save`;
  const result = { program: await timed(`qemu-img info -U ${DISK}`) };
  const saves = [
    async () => {
      result.xl = await watched(XL_IMAGE, `bash -c 'xl save -p ${GUEST} ${XL_IMAGE} && xl unpause ${GUEST}'`);
      await dom0(`rm ${XL_IMAGE}`);
    },
    async () => {
      result.plain = await watched(imageOf(plain), `${OURS} snapshot-create-as ${GUEST} ${plain}`);
    },
    async () => {
      result.live = await watched(imageOf(live), `${OURS} snapshot-create-as ${GUEST} ${live} --live`);
      await dom0(`${OURS} snapshot-delete ${GUEST} ${live}`);
    },
  ];
  const starts = [
    async () => {
      result.restore = await restored(`${LIBVIRTD} restore ${imageOf(plain)}`);
    },
    async () => {
      result.revert = await restored(`${OURS} snapshot-revert ${GUEST} ${plain}`);
    },
  ];
  for (const steps of [saves, starts]) {
    for (const n of steps.keys()) await steps[(n + number) % steps.length]();
  }
  // Each round is of a guest that was booted, not restored.
  await dom0(`${OURS} destroy ${GUEST} && ${OURS} snapshot-delete ${GUEST} ${plain} && ${OURS} start ${GUEST}`);
  return result;
}

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1]) / 2;
};
const cells = (name, ...columns) => say(`${name.padEnd(48)}${columns.map((text) => text.padStart(14)).join('')}`);
const ms = (value) => `${Math.round(value)} ms`;
const mibPerSecond = ({ bytes, writing }) => (bytes * 1_000) / writing / 1024 ** 2;

function table(rounds) {
  const row = (name, shown, theirs, ours, limit = '') => {
    const ratios = rounds.map((one) => ours(one) / theirs(one));
    const range = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
    const [their, our] = [theirs, ours].map((of) => shown(median(rounds.map(of))));
    cells(name, their, our, median(ratios).toFixed(3), range, limit);
  };
  const alone = (name, shown, ours) => cells(name, '', shown(median(rounds.map(ours))));
  const all = ({ stops }) => stops.reduce((sum, stop) => sum + stop, 0);

  cells(`median of ${rounds.length}`, 'alone', 'xlsnapd', 'ratio', 'range', 'limit');
  row(
    'RAM written, to xl save',
    (value) => `${value.toFixed(1)} MiB/s`,
    ({ xl }) => mibPerSecond(xl),
    ({ plain }) => mibPerSecond(plain),
    '≥ 0.95',
  );
  row(
    'guest stands, to xl save -p, xl unpause',
    ms,
    ({ xl }) => all(xl),
    ({ plain }) => all(plain),
    '≤ 1.10',
  );
  row(
    'guest stands, --live, to the same',
    ms,
    ({ xl }) => all(xl),
    ({ live }) => all(live),
    '≤ 0.25',
  );
  row(
    'of it after the image: disks, our steps',
    ms,
    ({ xl }) => xl.after,
    ({ plain }) => plain.after,
  );
  row(
    '  --live',
    ms,
    ({ xl }) => xl.after,
    ({ live }) => live.after,
  );
  alone('second stop, for libvirtd’s watch', ms, ({ plain }) => all(plain) - plain.stops[0]);
  alone('  --live', ms, ({ live }) => all(live) - live.stops[0]);
  row(
    'whole create, to xl save -p, xl unpause',
    ms,
    ({ xl }) => xl.took,
    ({ plain }) => plain.took,
  );
  row(
    'revert to running, to virsh restore',
    ms,
    ({ restore }) => restore,
    ({ revert }) => revert,
    '≤ 1.15',
  );
  alone('  a revert starts two programs a disk, each', ms, ({ program }) => program);
  row(
    `image, to ${RAM_MIB} MiB of RAM`,
    (value) => `${(value / 1024 ** 2).toFixed(1)} MiB`,
    () => RAM_MIB * 1024 ** 2,
    ({ plain }) => plain.bytes,
    '≤ 1.02',
  );
}

try {
  const uuid = await setUp();
  const rounds = [];
  for (let number = 0; number <= ROUNDS; number += 1) {
    rounds.push(await round(number, uuid));
    process.stderr.write(`round ${number} of ${ROUNDS}: ${JSON.stringify(rounds.at(-1))}\n`);
  }
  // The first is for nothing: memory that the host touches for the first time, programs that are read for the first time.
  table(rounds.slice(1));
} finally {
  await host[Symbol.asyncDispose]();
}
