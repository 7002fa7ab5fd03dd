/** What xlsnapd does at its start about operations that a crash has interrupted: on the embedded host, from real remains. */

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { CREATE, DELETE, REVERT } from '../../src/model/flags.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

let home: string;
let daemon: Xlsnapd;

const journal = () => readdir(join(home, 'state/journal'));
const memory = () => readdir(join(home, 'memory', UUID)).catch(() => []);

const inImage = () => snapshotsIn(join(home, 'state/test.qcow2'));

/** The record that a daemon leaves that dies in this phase. */
const interrupt = async (operation: string, snapshot: string, phase: string, flags = 0) => {
  await daemon.stop('SIGKILL');
  await mkdir(join(home, 'state/journal'), { recursive: true });
  const disk = { vdev: 'xvda', format: 'qcow2', pdev_path: join(home, 'state/test.qcow2') };
  const args = {
    memory: true,
    memory_path: join(home, 'memory', UUID, `${snapshot}.save`),
    disks: [{ disk, name: snapshot }],
  };
  const planned = operation === 'create' && phase !== 'begun' ? { args } : {};
  const record = { domain: { name: 'test', uuid: UUID, id: 1 }, operation, snapshot, flags, phase, ...planned };
  await writeFile(join(home, `state/journal/${UUID}.json`), JSON.stringify(record));
};

const restart = async () => {
  daemon = await Xlsnapd.start({ home });
};

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  daemon = await Xlsnapd.start({ home });
  await daemon.ok('snapshot-create-as', 'test', 'kept');
  await daemon.ok('snapshot-create-as', 'test', 's1');
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

test('S13: the record of a newer version stays, whatever is asked of the domain, until that version deals with it', async () => {
  await interrupt('create', 's1', 'disks-done');
  const path = join(home, `state/journal/${UUID}.json`);
  const newer = JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), version: 2 });
  await writeFile(path, newer);
  await restart();
  expect(daemon.log).toContain(`'${path}' was written by a newer xlsnap`);
  for (const command of ['snapshot-create-as test s2', 'snapshot-revert test kept', 'snapshot-delete test kept']) {
    const refused = await daemon.refused(...command.split(' '));
    expect(refused).toContain('install that one again and restart xlsnapd');
    expect(refused).toContain("until then the snapshots of domain 'test' are not changed");
    expect(await readFile(path, 'utf8')).toBe(newer);
  }
  expect(await inImage()).toEqual(['kept', 's1']);
  await daemon.stop();
  await writeFile(path, newer.replace('"version":2', '"version":1'));
  await restart();
  expect(daemon.log).toContain("create of snapshot 's1' of domain 'test' was interrupted in phase 'disks-done'");
  await daemon.ok('snapshot-create-as', 'test', 's2');
});

test('a create that was not recorded is taken back whole, and no other snapshot is touched', async () => {
  await interrupt('create', 's1', 'disks-done');
  await rm(join(home, 'snapshot/test/s1.xml'));
  await writeFile(join(home, 'memory', UUID, 's1.save.partial'), 'half an image');
  await restart();
  expect(daemon.log).toContain(
    "create of snapshot 's1' of domain 'test' was interrupted in phase 'disks-done': it was undone; the domain is running",
  );
  expect(await inImage()).toEqual(['kept']);
  expect(await memory()).toEqual(['kept.save']);
  expect(await journal()).toEqual([]);
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await daemon.ok('snapshot-revert', 'test', 'kept');
});

test('a create that was recorded stands', async () => {
  await interrupt('create', 's1', 'metadata');
  await restart();
  expect(daemon.log).toContain('it had been finished');
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept\ns1');
  await daemon.ok('snapshot-revert', 'test', 's1');
});

test('a create that had only begun leaves a foreign snapshot of that name alone', async () => {
  await interrupt('create', 's1', 'begun');
  await rm(join(home, 'snapshot/test/s1.xml'));
  await restart();
  expect(daemon.log).toContain('nothing had been done yet');
  expect(await inImage()).toEqual(['kept', 's1']);
});

test('an interrupted revert is named with the command that finishes it, and that command does', async () => {
  await interrupt('revert', 's1', 'disks', REVERT.PAUSED);
  await restart();
  expect(daemon.log).toContain('the domain is running; to finish it: virsh snapshot-revert test s1 --paused');
  expect(await journal()).toEqual([]);
  await daemon.ok('snapshot-revert', 'test', 's1', '--paused');
});

test('a revert that had only to be recorded is', async () => {
  await interrupt('revert', 'kept', 'metadata');
  await restart();
  expect(daemon.log).toContain('it was finished; the domain is running');
  expect(await daemon.ok('snapshot-current', 'test', '--name')).toBe('kept');
});

test.each([
  ['alone', 'kept', 0, ['s1', 's2', 's3']],
  ['with what is beneath it', 's2', DELETE.CHILDREN, ['kept', 's1']],
  ['but for itself', 's2', DELETE.CHILDREN_ONLY, ['kept', 's1', 's2']],
])('an interrupted delete of a snapshot %s is finished', async (_, doomed, flags, left) => {
  await daemon.ok('snapshot-create-as', 'test', 's2');
  await daemon.ok('snapshot-create-as', 'test', 's3');
  await interrupt('delete', doomed, 'delete', flags);
  // As far as it came.
  await rm(join(home, 'memory', UUID, flags === 0 ? 'kept.save' : 's3.save'));
  await restart();
  expect(daemon.log).toContain("in phase 'delete': it was finished");
  expect((await daemon.ok('snapshot-list', 'test', '--name')).split('\n')).toEqual(left);
  expect(await inImage()).toEqual(left);
  expect(await memory()).toEqual(left.map((name) => `${name}.save`));
  expect(await journal()).toEqual([]);
});

test('a domain that was to be halted after its snapshot is not, but how is said', async () => {
  await interrupt('create', 's1', 'halt', CREATE.HALT);
  await restart();
  expect(daemon.log).toContain('it had been taken; to halt the domain: virsh destroy test');
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept\ns1');
});

test.each(['begun', 'validate'])('a revert in phase %s had done nothing', async (phase) => {
  await interrupt('revert', 's1', phase);
  await restart();
  expect(daemon.log).toContain('nothing had been done yet');
});

test('S13: a damaged record is named and does not keep the daemon from its work; its domain is refused until it is removed', async () => {
  await interrupt('create', 's1', 'no such phase');
  const [record] = await journal();
  await restart();
  expect(daemon.log).toContain(`${UUID}.json' is not a record of an operation`);
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept\ns1');
  expect(await daemon.refused('snapshot-create-as', 'test', 's2')).toContain(`'rm ${home}/state/journal/${record}'`);
  expect(await journal()).toEqual([record]);
  await rm(join(home, `state/journal/${record}`));
  await daemon.stop();
  await restart();
  await daemon.ok('snapshot-create-as', 'test', 's2');
  expect(await journal()).toEqual([]);
});

test('a daemon that is killed leaves nothing that keeps the next one from starting', async () => {
  await daemon.stop('SIGKILL');
  await restart();
  expect(await daemon.ok('domstate', 'test')).toBe('running');
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept\ns1');
});
