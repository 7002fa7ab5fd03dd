/**
 * Deletes of snapshots of two disks that stop between the disks, or are refused: whatever stops them, both definitions name
 * images that are there and hold what the guest has written, and the same delete goes on.
 */

import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { diskOnly, exists, file, host, images } from '../support/daemons/external-host.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { backingChain, guestReads, guestWrites, imageReads } from '../support/disks/embedded-disk.ts';

const run = promisify(execFile);

/** Bytes that an overlay of xvdb holds, so that its merge takes a moment. */
const LOAD = '24M';

const sources = async (...flags: readonly string[]) =>
  (await host.ok('domblklist', 'test', ...flags))
    .split('\n')
    .slice(2)
    .flatMap((line) => line.trim().split(/\s+/)[1]?.replace(`${host.home}/state/`, '') ?? []);
const definitions = async () => [await sources(), await sources('--inactive')];
const both = (...files: readonly string[]) => [files, files];

/** The device model of the domain, which runs. */
async function deviceModel(): Promise<number> {
  const id = (await host.ok('domid', 'test')).trim();
  return Number(await readFile(join(host.home, 'state', `${id}.pid`), 'utf8'));
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 60_000; !(await condition()); await setTimeout(1)) {
    if (Date.now() > end) throw new Error('this did not come about');
  }
}

/** Begins a delete of e1, and stops the device model when the first layer's file has gone. Returns what virsh says then. */
async function stoppedAfterTheFirst(then: (device: number) => Promise<void>): Promise<string> {
  const device = await deviceModel();
  const deleted = host.refused('snapshot-delete', 'test', 'e1');
  await until(async () => !(await exists(file('test.e1'))));
  process.kill(device, 'SIGSTOP');
  await then(device);
  return await deleted;
}

/** What the guest has written since e1 is there, on both disks. */
async function expectWritten(): Promise<void> {
  expect(await host.ok('domstate', 'test')).toBe('running');
  expect(await guestReads(host, 2)).toBe(true);
  expect(await guestReads(host, 4, { disk: 'xvdb' })).toBe(true);
}

async function restart(): Promise<void> {
  await host.ok('destroy', 'test');
  await host.ok('start', 'test');
}

beforeEach(async () => {
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', file('test.b.qcow2'), '64M']);
  const path = file('two.xml');
  const disk = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${file('test.b.qcow2')}'/><target dev='xvdb' bus='xen'/></disk>`;
  const definition = await host.ok('dumpxml', 'test', '--inactive');
  await writeFile(path, definition.replace('</devices>', `${disk}</devices>`));
  await host.ok('define', path);
  await restart();
  await guestWrites(host, 1);
  await guestWrites(host, 3, { disk: 'xvdb' });
  await diskOnly('e1', '--diskspec', `xvdb,file=${file('test.b.e1')}`);
  await guestWrites(host, 2);
  await guestWrites(host, 4, { disk: 'xvdb' });
});

describe('case A: refused before the first layer is merged', () => {
  const refusals: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    [
      'an internal snapshot of somebody else in the second layer',
      () => run('qemu-img', ['snapshot', '-c', 'mine', file('test.b.e1')]),
      /internal snapshots in it \('mine'\) would be lost/,
    ],
    [
      'a dirty bitmap in the second layer',
      () => run('qemu-img', ['bitmap', '--add', file('test.b.e1'), 'b0']),
      /its dirty bitmap 'b0' would be lost; .*: qemu-img bitmap --remove \S+test\.b\.e1 b0/,
    ],
    [
      'a base of the second layer that cannot be written to',
      () => run('chattr', ['+i', file('test.b.qcow2')]),
      /'\S+test\.b\.qcow2' cannot be written to/,
    ],
  ];

  test.each(refusals)('%s', async (_, spoil, text) => {
    await host.ok('destroy', 'test');
    const before = await images();
    await spoil();
    try {
      expect(await host.refused('snapshot-delete', 'test', 'e1')).toMatch(text);
      expect(await images()).toEqual(before);
      expect(await definitions()).toEqual(both('test.e1', 'test.b.e1'));
      expect(await backingChain(file('test.e1'))).toEqual([file('test.e1'), file('test.qcow2')]);
      await host.ok('snapshot-revert', 'test', 'e1');
    } finally {
      await run('chattr', ['-i', file('test.b.qcow2')]).catch(() => {});
    }
  });

  test('while the guest runs', async () => {
    await host.ok('destroy', 'test');
    await run('qemu-img', ['snapshot', '-c', 'mine', file('test.b.e1')]);
    await host.ok('start', 'test');
    expect(await host.refused('snapshot-delete', 'test', 'e1')).toContain("('mine') would be lost");
    expect(await definitions()).toEqual(both('test.e1', 'test.b.e1'));
    await expectWritten();
    await host.ok('snapshot-revert', 'test', 'e1', '--running');
    expect(await guestReads(host, 1)).toBe(true);
  });
});

describe('case A: stopped while the second layer is merged', () => {
  beforeEach(async () => {
    const id = (await host.ok('domid', 'test')).trim();
    const uri = `nbd+unix:///xvdb?socket=${join(host.home, 'state', `${id}.nbd`)}`;
    await run('qemu-io', ['-f', 'raw', '-c', `write -P 9 1M ${LOAD}`, '-c', 'flush', uri]);
  });

  /** The first disk is done, the second as it was; both start; the same delete does the rest. */
  async function expectHalf(): Promise<void> {
    expect(await definitions()).toEqual(both('test.qcow2', 'test.b.e1'));
    await restart();
    await expectWritten();
    await host.ok('snapshot-delete', 'test', 'e1');
    expect(await images()).toEqual(['test.b.qcow2', 'test.qcow2']);
    expect(await definitions()).toEqual(both('test.qcow2', 'test.b.qcow2'));
    await restart();
    await expectWritten();
  }

  test('by domjobabort', async () => {
    const said = await stoppedAfterTheFirst(async (device) => {
      await host.ok('domjobabort', 'test');
      process.kill(device, 'SIGCONT');
    });
    expect(said).toContain('canceled by client');
    await expectWritten();
    await expectHalf();
  });

  test('by the end of its device model', async () => {
    await stoppedAfterTheFirst(async (device) => void process.kill(device, 'SIGKILL'));
    await expectHalf();
  });

  test('by a base that cannot grow', async () => {
    const { size } = await stat(file('test.b.qcow2'));
    await run('prlimit', ['--pid', String(await deviceModel()), `--fsize=${size + (4 << 20)}`]);
    expect(await host.refused('snapshot-delete', 'test', 'e1')).toContain('test.b.e1');
    await expectHalf();
  });

  test('by the end of the daemon: the next one goes on by itself', async () => {
    const deleted = host.virsh('snapshot-delete', 'test', 'e1');
    await until(async () => !(await exists(file('test.e1'))));
    await host.stop('SIGKILL');
    await deleted;
    await using next = await Xlsnapd.start({ home: host.home });
    await next.logged('it was finished');
    expect(await images()).toEqual(['test.b.qcow2', 'test.qcow2']);
    await next.ok('destroy', 'test');
    expect(await imageReads(file('test.b.qcow2'), 9, { at: 16 })).toBe(true);
  });
});
