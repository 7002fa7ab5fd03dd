/** A real Xen host where xl owns the guests: plain virsh, with no libvirtd behind xlsnapd, and the monitors of xl stay. */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, useLab } from '../support/lab/lab.ts';

const lab = useLab();

const FOLDER = '/run/lab/xl-host';
const SOCKET = `${FOLDER}/sock`;
const GUEST = 'x-pvh';
const IMAGE = `${FOLDER}/${GUEST}.qcow2`;

const virsh = async (...words: readonly string[]): Promise<string> => {
  const { rc, stdout, stderr } = await virshSays(...words);
  if (rc !== 0) throw new Error(`virsh ${words.join(' ')}: ${stderr}`);
  return stdout.trimEnd();
};
const virshSays = (...words: readonly string[]) =>
  lab().sh(['virsh', '-c', `'xen+unix:///system?socket=${SOCKET}'`, ...words].join(' '));

/** The processes of xl that log the guest's life, without children that libxl forks for a moment. */
const monitors = async () =>
  (
    await lab().must(
      `for p in $(pgrep -x -P 1 xl); do readlink /proc/$p/fd/1 | grep -q /xl-${GUEST}.log && echo $p; done; true`,
    )
  ).trim();
const domid = async () => (await lab().must(`xl domid ${GUEST}`)).trim();
const untilTrue = (condition: string) => lab().must(`until_true 120 eval '${condition}'`);
const snapshotsInImage = async () => {
  const { snapshots = [] } = JSON.parse(await lab().must(`qemu-img info -U --output=json ${IMAGE}`)) as {
    snapshots?: object[];
  };
  return snapshots.length;
};

/** Waits for a tick that the guest prints after the work; returns the last one before it, and all since. */
const ticksSince = async (work: () => Promise<unknown>): Promise<{ before: number; since: readonly number[] }> => {
  const known = lab().ticks(GUEST);
  await work();
  const ticks = await lab().waitForTicks(GUEST, (now) => now.length > known.length);
  return { before: known.at(-1) ?? 0, since: ticks.slice(known.length) };
};

beforeAll(async () => {
  await lab().must(`mkdir -p ${FOLDER}/cfg /var/log/xen && qemu-img create -q -f qcow2 ${IMAGE} 16M`);
  await lab().must(`guest_cfg ${GUEST} pvh 96 qcow2:${IMAGE} > ${FOLDER}/cfg/${GUEST}.cfg`);
  const folders = ['snapshot', 'memory', 'state'].flatMap((name) => [`--${name}-dir`, `${FOLDER}/${name}`]);
  const options = ['--upstream', 'xl', '--config-dir', `${FOLDER}/cfg`, '--listen', SOCKET, '--dbus', 'none'];
  await lab().startXlsnapd([...options, ...folders], SOCKET);
}, LAB_TEST_TIMEOUT_MS);

afterAll(async () => {
  await lab().sh(`xl destroy ${GUEST}`);
  await lab().stopXlsnapd();
}, LAB_TEST_TIMEOUT_MS);

test('a guest of a file is listed, started, paused, continued and rebooted by its monitor', async () => {
  expect(await virsh('domstate', GUEST)).toBe('shut off');
  const uuid = await virsh('domuuid', GUEST);
  const { since } = await ticksSince(() => virsh('start', GUEST));
  expect(since[0]).toBeLessThan(3);
  expect(await virsh('domid', GUEST)).toBe(await domid());
  expect(await virsh('domuuid', GUEST)).toBe(uuid);
  await virsh('suspend', GUEST);
  expect(await lab().must(`xl list ${GUEST}`)).toMatch(/--p---/);
  await virsh('resume', GUEST);
  const [first, monitor] = [await domid(), await monitors()];
  const runs = lab().tickRuns(GUEST).length;
  await lab().must(`xl reboot ${GUEST} && until_true 120 eval '[ "$(xl domid ${GUEST})" -gt ${first} ]'`);
  await lab().waitForTicks(GUEST, () => lab().tickRuns(GUEST).length > runs);
  expect(await monitors()).toBe(monitor);
  expect((await virshSays('define', '/dev/null')).stderr).toMatch('xl configures the domains of this host by files');
});

test('snapshots of the running guest: it goes on, its monitor stays, and a revert brings its RAM back', async () => {
  const monitor = await monitors();
  const live = await ticksSince(() => virsh('snapshot-create-as', GUEST, 's1', '--live'));
  expect(live.since[0]).toBe(live.before + 1);
  const still = await ticksSince(() => virsh('snapshot-create-as', GUEST, 's2'));
  expect(still.since[0]).toBe(still.before + 1);
  expect(await monitors()).toBe(monitor);
  expect(await snapshotsInImage()).toBe(2);
  const overlay = await virshSays(
    'snapshot-create-as',
    GUEST,
    's3',
    '--disk-only',
    '--diskspec',
    'xvda,snapshot=external',
  );
  expect(overlay.stderr).toMatch('take an internal snapshot');
  await lab().waitForTick(GUEST, (live.since.at(-1) ?? 0) + 4);

  const runs = lab().tickRuns(GUEST).length;
  await virsh('snapshot-revert', GUEST, 's1');
  await lab().waitForTicks(GUEST, () => lab().tickRuns(GUEST).length > runs);
  const first = lab().tickRuns(GUEST).at(-1)?.[0] ?? 0;
  expect(first).toBeGreaterThan(live.before);
  expect(first).toBeLessThanOrEqual((live.since.at(-1) ?? 0) + 1);
  expect(await virsh('domstate', GUEST, '--reason')).toBe('running (from snapshot)');
  expect(await monitors()).toMatch(/^\d+$/);
  expect(await monitors()).not.toBe(monitor);
});

test('after snapshots and a revert a shutdown is noticed by the monitor; a delete leaves nothing', async () => {
  await virsh('snapshot-create-as', GUEST, 's4');
  await virsh('shutdown', GUEST);
  await untilTrue(`! xl domid ${GUEST}`);
  await untilTrue(`virsh -c "xen+unix:///system?socket=${SOCKET}" domstate ${GUEST} | grep -q "shut off"`);
  await untilTrue('! pgrep -x xl');
  await virsh('snapshot-create-as', GUEST, 'off');
  await virsh('snapshot-revert', GUEST, 'off', '--running');
  expect(await virsh('domstate', GUEST)).toBe('running');
  await virsh('destroy', GUEST);
  for (const name of ['s1', 's2', 's4', 'off']) await virsh('snapshot-delete', GUEST, name);
  expect(await snapshotsInImage()).toBe(0);
  const files = await lab().must(
    `find ${FOLDER}/snapshot ${FOLDER}/memory ${FOLDER}/state -type f ! -name .xlsnapd.lock`,
  );
  expect(files).toBe('');
});
