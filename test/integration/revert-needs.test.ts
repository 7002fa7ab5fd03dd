/** A revert that cannot succeed changes nothing: whatever it needs is asked for while the old guest still runs. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { qemuImg } from '../support/hosts/embedded.ts';
import { defineGuest, definitions, digests, type GuestParts, startGuest } from '../support/hosts/guest.ts';

const run = promisify(execFile);

let home: string;
let daemon: Xlsnapd;

const TWO_DISKS: GuestParts = { disks: { xvda: ['t1.qcow2', 'qcow2'], xvdb: ['t2.qcow2', 'qcow2'] } };
const WITH_DRIVE: GuestParts = { disks: { xvda: ['a.qcow2', 'qcow2'] }, cdrom: 'cd1.iso' };

const file = (name: string) => join(home, name);
const create = (name: string, ...args: readonly string[]) => daemon.ok('snapshot-create-as', 'g', name, ...args);
const medium = async (...args: readonly string[]) =>
  / hdc +(\S+)/.exec(await daemon.ok('domblklist', 'g', ...args))?.[1];

const qemuIo = (command: string, image: string) => run('qemu-io', ['-f', 'qcow2', '-c', command, image]);
/** What a guest reads. */
const contents = async (image: string) => {
  const { stdout } = await run('sh', [
    '-c',
    `qemu-img convert -U -f qcow2 -O raw ${image} ${image}.raw && sha256sum <${image}.raw && rm ${image}.raw`,
  ]);
  return stdout;
};

/** Everything that a revert could change: the guest's id and state, both definitions, every file of host and daemon. */
async function everything() {
  const state = await daemon.ok('domstate', 'g', '--reason');
  const id = await daemon.ok('domid', 'g');
  const files = await digests(home);
  const unchanging = Object.entries(files).filter(([path]) => !/\/state\/(\d+\.\w+|journal\/)/.test(path));
  return { state, id, definitions: await definitions(daemon), files: unchanging };
}

/** The error of a revert that has changed nothing. */
async function refusedRevert(name: string, ...args: readonly string[]): Promise<string> {
  const before = await everything();
  const error = await daemon.refused('snapshot-revert', 'g', name, ...args);
  expect(await everything()).toEqual(before);
  return error;
}

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  daemon = await Xlsnapd.start({ home });
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

test('descriptors: neither a create nor a revert nor a delete begins if xlsnapd could run out of them', async () => {
  await startGuest(daemon, WITH_DRIVE);
  await create('s1');
  const limit = (soft: string) => run('prlimit', ['--pid', String(daemon.pid), `--nofile=${soft}:`]);
  const { stdout } = await run('ls', [`/proc/${daemon.pid}/fd`]);
  const { length: open } = stdout.trim().split('\n');
  await limit(String(open + 20));
  const refusal = /Requested operation is not valid: xlsnapd has \d+ of at most \d+ files open.*LimitNOFILE=/;
  expect(await refusedRevert('s1')).toMatch(refusal);
  for (const words of [
    ['snapshot-create-as', 'g', 's2'],
    ['snapshot-delete', 'g', 's1'],
  ] as const) {
    const before = await everything();
    expect(await daemon.refused(...words)).toMatch(refusal);
    expect(await everything()).toEqual(before);
  }
  await limit('1024');
  await daemon.ok('snapshot-revert', 'g', 's1');
});

describe('case 1: files that the definition names and that were not captured', () => {
  test('the medium of a drive is gone', async () => {
    await startGuest(daemon, WITH_DRIVE);
    await create('s1');
    await daemon.ok('destroy', 'g');
    await startGuest(daemon, { ...WITH_DRIVE, cdrom: null });
    await rm(file('cd1.iso'));
    expect(await refusedRevert('s1')).toMatch(
      `Requested operation is not valid: cannot open '${file('cd1.iso')}' (disk 'hdc'), which the domain would be started with: No such file or directory`,
    );
    await writeFile(file('cd1.iso'), '');
    await daemon.ok('snapshot-revert', 'g', 's1');
  });

  test('a disk that was left out is gone, has a broken backing chain, or is no file', async () => {
    const parts: GuestParts = { disks: { ...WITH_DRIVE.disks, xvdb: ['b.raw', 'raw'] } };
    await startGuest(daemon, parts);
    await create('s1');
    await rename(file('b.raw'), file('away'));
    expect(await refusedRevert('s1')).toMatch(`'${file('b.raw')}' (disk 'xvdb')`);
    await mkdir(file('b.raw'));
    expect(await refusedRevert('s1')).toMatch(/is neither a (regular )?file nor a block device/);
    await rm(file('b.raw'), { recursive: true });
    await symlink(file('away'), file('b.raw'));
    await daemon.ok('snapshot-revert', 'g', 's1');
  });

  test('the folder in which a serial port writes is gone', async () => {
    const devices = `<serial type='file'><source path='${file('log/g')}'/><target port='0'/></serial>`;
    await mkdir(file('log'));
    await startGuest(daemon, { disks: WITH_DRIVE.disks, devices });
    await create('s1');
    await rm(file('log'), { recursive: true });
    const refusal = `cannot open '${file('log/g')}' (serial '0'), which the domain would be started with: No such file`;
    expect(await refusedRevert('s1')).toContain(refusal);
    expect(await daemon.refused('snapshot-create-as', 'g', 's2')).toContain(refusal);
    await mkdir(file('log'));
    await daemon.ok('snapshot-revert', 'g', 's1');
  });

  test('the kernel is gone when a snapshot of a guest that was off is to be booted, and is not needed otherwise', async () => {
    const parts: GuestParts = { disks: WITH_DRIVE.disks, kernel: 'vmlinuz', type: 'linux' };
    await startGuest(daemon, parts);
    await daemon.ok('destroy', 'g');
    await create('off');
    await daemon.ok('start', 'g');
    await create('on');
    await rm(file('vmlinuz'));
    expect(await refusedRevert('off', '--running')).toMatch(`'${file('vmlinuz')}' (kernel)`);
    await daemon.ok('snapshot-revert', 'g', 'on');
    await daemon.ok('snapshot-revert', 'g', 'off');
  });
});

test('case 3: a program that the revert runs is missing: seen when the snapshot is taken, and before the guest ends', async () => {
  await startGuest(daemon, TWO_DISKS);
  await create('s1');
  await daemon.stop();
  await mkdir(file('bin'));
  await symlink('/usr/bin/qemu-storage-daemon', join(file('bin'), 'qemu-storage-daemon'));
  daemon = await Xlsnapd.start({ home, env: { PATH: file('bin') } });
  await startGuest(daemon, TWO_DISKS);
  const missing = "'qemu-img' is not installed (Debian package qemu-utils)";
  expect(await refusedRevert('s1')).toContain(missing);
  expect(await daemon.refused('snapshot-create-as', 'g', 's2')).toContain(missing);
  expect(await daemon.refused('snapshot-create-as', 'g', 's2', '--disk-only')).toContain(missing);
  await daemon.ok('destroy', 'g');
  expect(await daemon.refused('snapshot-create-as', 'g', 's2')).toContain(missing);
});

test('case 8: drives get the media that they had when the snapshot was taken, now and at the next start', async () => {
  await startGuest(daemon, WITH_DRIVE);
  await create('cd1');
  await daemon.ok('destroy', 'g');
  await startGuest(daemon, { ...WITH_DRIVE, cdrom: 'cd2.iso' });
  await create('cd2');
  await defineGuest(daemon, { ...WITH_DRIVE, cdrom: null });
  await daemon.ok('snapshot-revert', 'g', 'cd1');
  expect([await medium(), await medium('--inactive')]).toEqual([file('cd1.iso'), file('cd1.iso')]);
  await daemon.ok('snapshot-revert', 'g', 'cd2');
  expect([await medium(), await medium('--inactive')]).toEqual([file('cd2.iso'), file('cd2.iso')]);
});

describe('case 2: dirty bitmaps', () => {
  const addBitmap = () => qemuImg('bitmap', '--add', file('t2.qcow2'), "it's b0");
  const removal = () => `qemu-img bitmap --remove ${file('t2.qcow2')} 'it'\\''s b0'`;

  test('seen when the snapshot is taken, of a guest that runs and of one that is off', async () => {
    await startGuest(daemon, TWO_DISKS);
    await daemon.ok('destroy', 'g');
    await addBitmap();
    const unsupported = /unsupported configuration: disk 'xvdb': image '.*t2\.qcow2' has dirty bitmap 'it's b0'/;
    expect(await daemon.refused('snapshot-create-as', 'g', 's1')).toMatch(unsupported);
    await daemon.ok('start', 'g');
    const error = await daemon.refused('snapshot-create-as', 'g', 's1');
    expect(error).toMatch(unsupported);
    expect(error).toContain(removal());
    expect(await daemon.ok('snapshot-list', 'g', '--name')).toBe('');
    await daemon.ok('destroy', 'g');
    await run('sh', ['-c', removal()]);
    await daemon.ok('snapshot-create-as', 'g', 's1');
  });

  test('seen before a revert ends the guest', async () => {
    await startGuest(daemon, TWO_DISKS);
    await create('s1');
    await daemon.ok('destroy', 'g');
    await addBitmap();
    await daemon.ok('start', 'g');
    const error = await refusedRevert('s1');
    expect(error).toMatch(/Requested operation is not valid: disk 'xvdb'/);
    expect(error).toContain(removal());
  });
});

test('case 2: a revert that fails in the second image gives the first one back what it held; a delete says what is left', async () => {
  await startGuest(daemon, TWO_DISKS);
  await daemon.ok('destroy', 'g');
  await create('s1');
  await qemuIo('write -P 7 0 64k', file('t1.qcow2'));
  const before = await contents(file('t1.qcow2'));
  await daemon.stop();
  await mkdir(file('bin'));
  // QEMU's own refusal, at the last moment.
  const failing = `#!/bin/sh\ncase "$*" in *"snapshot -a 1 "*t2.qcow2) echo 'no space' >&2; exit 1;; *"snapshot -d s1 "*t2.qcow2) echo 'no space' >&2; exit 1;; esac\nexec /usr/bin/qemu-img "$@"\n`;
  await writeFile(join(file('bin'), 'qemu-img'), failing, { mode: 0o755 });
  daemon = await Xlsnapd.start({ home, env: { PATH: `${file('bin')}:${process.env.PATH}` } });
  await defineGuest(daemon, TWO_DISKS);
  expect(await daemon.refused('snapshot-revert', 'g', 's1')).toContain(
    "no space (all disks hold what they held before) (domain 'g' is shut off; mend the cause",
  );
  expect(await contents(file('t1.qcow2'))).toBe(before);
  expect(await snapshotsIn(file('t1.qcow2'))).toEqual(['s1']);
  await rename(join(file('bin'), 'qemu-img'), file('failing'));
  await daemon.ok('snapshot-revert', 'g', 's1');
  expect(await contents(file('t1.qcow2'))).not.toBe(before);
  expect(await snapshotsIn(file('t2.qcow2'))).toEqual(['s1']);
  // A delete cannot give it back, but can be continued.
  await rename(file('failing'), join(file('bin'), 'qemu-img'));
  const half = await daemon.refused('snapshot-delete', 'g', 's1');
  expect(half).toContain(
    "no space (it is deleted from disk 'xvda' already) (snapshot 's1' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s1)",
  );
  expect(await daemon.refused('snapshot-revert', 'g', 's1')).toContain("has no internal snapshot 's1'");
  await rm(join(file('bin'), 'qemu-img'));
  await daemon.ok('snapshot-delete', 'g', 's1');
  expect(await snapshotsIn(file('t2.qcow2'))).toEqual([]);
});

test('an overlay that the revert would remove is a folder now', async () => {
  await startGuest(daemon, { disks: WITH_DRIVE.disks });
  await create('s1', '--disk-only');
  await rename(file('a.s1'), file('away'));
  await mkdir(file('a.s1'));
  const refusal = await refusedRevert('s1', '--running');
  expect(refusal).toContain(`Requested operation is not valid: cannot remove image '${file('a.s1')}': it is a folder`);
  await run('sh', ['-c', refusal.split('to move it away: ')[1] ?? '']);
  await daemon.ok('snapshot-revert', 'g', 's1', '--running');
});

test('an image that is marked as corrupt, or was cut in its tables, is seen before the guest ends', async () => {
  await startGuest(daemon, { disks: WITH_DRIVE.disks });
  await create('s1');
  const whole = await readFile(file('a.qcow2'));
  const corrupt = Buffer.from(whole);
  corrupt[79] = (corrupt[79] ?? 0) | 2;
  await writeFile(file('a.qcow2'), corrupt);
  expect(await refusedRevert('s1')).toContain(`qemu-img check -r all ${file('a.qcow2')}`);
  await writeFile(file('a.qcow2'), whole);
  await truncate(file('a.qcow2'), 4 * 65_536);
  expect(await refusedRevert('s1')).toContain('its table of internal snapshots is damaged');
  // The first L2 table of the disk is beyond the end of the file.
  const lost = Buffer.from(whole);
  lost.writeBigUInt64BE(0x8000_0000_7fff_0000n, Number(lost.readBigUInt64BE(40)));
  await writeFile(file('a.qcow2'), lost);
  expect(await refusedRevert('s1')).toContain('is damaged or was cut short');
  await writeFile(file('a.qcow2'), whole);
  await daemon.ok('snapshot-revert', 'g', 's1');
});
