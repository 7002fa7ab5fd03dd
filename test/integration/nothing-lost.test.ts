/** Failures in the middle of an operation, by real causes: what was reported as taken can be reverted to, nothing else is left. */

import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runXlsnapd, Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { contentsOf } from '../support/folder.ts';

const run = promisify(execFile);
const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

let home: string;
let daemon: Xlsnapd;

const image = () => join(home, 'state/test.qcow2');
const metadata = () => join(home, 'snapshot/test');
const list = contentsOf;

const inImage = () => snapshotsIn(image());

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  daemon = await Xlsnapd.start({ home });
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

test('metadata that cannot be written takes the whole snapshot back', async () => {
  await mkdir(metadata(), { recursive: true });
  await mkdir(join(metadata(), 's1.xml'));
  expect(await daemon.refused('snapshot-create-as', 'test', 's1')).toMatch(
    /^internal error: unable to save metadata for snapshot s1 of domain 'test': cannot rename file/,
  );
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('');
  expect(await inImage()).toEqual([]);
  expect(await list(join(home, 'memory'))).toEqual([]);
  await daemon.ok('snapshot-create-as', 'test', 's2');
  await daemon.ok('snapshot-revert', 'test', 's2');
});

test.each(['running', 'off'])(
  'the overlay of a create that failed stays if another domain uses it by now, and so does the domain on it (%s)',
  async (state) => {
    if (state === 'off') await daemon.ok('destroy', 'test');
    const overlay = join(home, 'state/test.s1');
    const other = join(home, 'other.xml');
    await writeFile(
      other,
      `<domain type='xen'><name>other</name><memory>32768</memory><os><type>hvm</type></os><devices><disk type='file' ` +
        `device='disk'><driver name='qemu' type='qcow2'/><source file='${overlay}'/><target dev='xvda'/></disk></devices></domain>`,
    );
    await daemon.ok('define', other);
    await mkdir(join(metadata(), 's1.xml'), { recursive: true });
    const refused = await daemon.refused('snapshot-create-as', 'test', 's1', '--disk-only');
    expect(refused).toContain("unable to save metadata for snapshot s1 of domain 'test'");
    expect(refused).toContain(
      `image '${overlay}' of domain 'test' is neither merged nor removed, since domain 'other' (disk 'xvda') uses it`,
    );
    for (const domain of ['test', 'other']) expect(await daemon.ok('domblklist', domain)).toContain(overlay);
    expect(await list(join(home, 'state'))).toContain('test.s1');
    await rm(join(metadata(), 's1.xml'), { recursive: true });
    if (state === 'off') await daemon.ok('start', 'test');
    await daemon.ok('undefine', 'other');
    await daemon.ok('blockcommit', 'test', 'xvda', '--active', '--pivot', '--delete');
    expect(await daemon.ok('domblklist', 'test')).toContain(image());
    await daemon.ok('snapshot-create-as', 'test', 's1', '--disk-only');
  },
);

test('a snapshot whose file is written stands, though the one before could not be told', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await mkdir(join(metadata(), 's1.xml.new'));
  await daemon.ok('snapshot-create-as', 'test', 's2');
  expect(daemon.log).toContain("unable to save metadata for snapshot s1 of domain 'test'");
  expect(await daemon.ok('snapshot-current', 'test', '--name')).toBe('s2');
  await rm(join(metadata(), 's1.xml.new'), { recursive: true });
  await daemon.stop();
  daemon = await Xlsnapd.start({ home });
  expect(await daemon.ok('snapshot-current', 'test', '--name')).toBe('s2');
  await daemon.ok('snapshot-revert', 'test', 's1');
  await daemon.ok('snapshot-revert', 'test', 's2');
});

test.each([
  [
    'a name longer than a file name can hold',
    ['x'.repeat(250)],
    /^invalid snapshot name 'x+': name can't be longer than 242 bytes/,
  ],
  ['a description longer than libvirt reads', ['s1', 'd'.repeat(120_000)], undefined],
])('%s', async (_, words, refusal) => {
  const [name = '', description] = words;
  const file = join(home, 'request.xml');
  const text = description === undefined ? '' : `<description>${description.repeat(10)}</description>`;
  await writeFile(file, `<domainsnapshot><name>${name}</name>${text}</domainsnapshot>`);
  for (const state of ['running', 'off']) {
    if (state === 'off') await daemon.ok('destroy', 'test');
    expect(await daemon.refused('snapshot-create', 'test', file)).toMatch(
      refusal ?? /^operation failed: the description of snapshot 's1' of domain 'test' is too long/,
    );
    expect(await inImage()).toEqual([]);
    expect(await list(join(home, 'memory'))).toEqual([]);
    expect(await list(metadata())).toEqual([]);
  }
});

test('somebody else’s snapshot of the same name is never touched, running or off', async () => {
  await daemon.ok('destroy', 'test');
  await run('qemu-img', ['snapshot', '-c', 'precious', image()]);
  expect(await daemon.refused('snapshot-create-as', 'test', 'precious')).toMatch(
    /already has an internal snapshot 'precious'/,
  );
  await daemon.ok('start', 'test');
  expect(await daemon.refused('snapshot-create-as', 'test', 'precious')).toMatch(/precious/);
  expect(await inImage()).toEqual(['precious']);
  expect(await list(join(home, 'memory'))).toEqual([]);
});

test('a revert that needs an image somebody else has open is refused while the domain still runs', async () => {
  await daemon.ok('destroy', 'test');
  await daemon.ok('snapshot-create-as', 'test', 'off');
  const other = spawn('qemu-storage-daemon', [
    ...['--blockdev', `driver=qcow2,node-name=a,file.driver=file,file.filename=${image()}`],
    ...['--nbd-server', `addr.type=unix,addr.path=${join(home, 'nbd')}`],
    ...['--export', 'type=nbd,id=e,node-name=a,name=a,writable=on'],
  ]);
  try {
    for (const end = Date.now() + 10_000; !(await list(home)).includes('nbd'); ) {
      if (Date.now() > end) throw new Error('qemu-storage-daemon does not start');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await daemon.refused('snapshot-revert', 'test', 'off')).toMatch(
      /^(Failed to revert snapshot off\n)?Requested operation is not valid: .*test\.qcow2.*lock/,
    );
  } finally {
    other.kill();
    await new Promise((resolve) => other.once('exit', resolve));
  }
  await daemon.ok('snapshot-revert', 'test', 'off');
});

test('a memory image that was cut is refused before the domain is ended', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  const path = join(home, 'memory', UUID, 's1.save');
  const whole = await readFile(path);
  await writeFile(path, whole.subarray(0, whole.length - 1000));
  expect(await daemon.refused('snapshot-revert', 'test', 's1')).toContain(path);
  expect(await daemon.ok('domstate', 'test', '--reason')).toBe('running (booted)');
  await writeFile(path, whole);
  await daemon.ok('snapshot-revert', 'test', 's1');
});

test('a second daemon on the same folders is refused before it touches them', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  const own = { state: 'other-state', snapshot: 'other-snapshot', memory: 'other-memory' };
  for (const shared of ['state', 'snapshot', 'memory'] as const) {
    const folder = (of: keyof typeof own) => join(home, of === shared ? of : own[of]);
    const { status, stderr } = await runXlsnapd(
      ...['--connect', 'test:///default', '--listen', join(home, 'other'), '--state-dir', folder('state')],
      ...['--snapshot-dir', folder('snapshot'), '--memory-dir', folder('memory')],
    );
    expect(stderr).toBe(
      `xlsnapd: operation failed: another xlsnapd uses the folder '${join(home, shared)}': stop it, or choose another folder\n`,
    );
    expect(status).toBe(1);
  }
  await daemon.ok('snapshot-revert', 'test', 's1');
});

test('a daemon that is told to stop refuses what waits, and ends with what runs', async () => {
  const names = Array.from({ length: 8 }, (_, i) => `s${i}`);
  const asked = names.map((name) => daemon.virsh('snapshot-create-as', 'test', name));
  await Promise.race(asked);
  await daemon.stop();
  await Promise.all(asked);
  daemon = await Xlsnapd.start({ home });
  const listed = (await daemon.ok('snapshot-list', 'test', '--name')).split('\n').filter(Boolean);
  expect(listed.length).toBeLessThan(names.length);
  expect([...(await inImage())].sort()).toEqual(listed.sort());
  for (const name of listed) await daemon.ok('snapshot-revert', 'test', name);
});
