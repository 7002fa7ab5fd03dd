/** Files that mean harm, or are damaged: refused with their names, and nothing else suffers. */

import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { contentsOf } from '../support/folder.ts';
import { numbers } from '../support/random.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const SEED = 7;

let home: string;
let daemon: Xlsnapd;

const memoryImage = (name: string) => join(home, 'memory', UUID, `${name}.save`);
const metadata = (name: string) => join(home, 'snapshot/test', `${name}.xml`);
const outside = () => join(home, 'outside');

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  await mkdir(outside());
  daemon = await Xlsnapd.start({ home });
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

/** Some bytes are others, or the end is missing. */
function damaged(bytes: Buffer, random: (limit: number) => number, within: number): Buffer {
  if (random(3) === 0) return bytes.subarray(0, random(bytes.length));
  const copy = Buffer.from(bytes);
  for (let times = 1 + random(8); times > 0; times -= 1) copy[random(Math.min(within, copy.length))] = random(256);
  return copy;
}

test('a damaged memory image is refused with its name while the domain still runs, or restored whole', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  const path = memoryImage('s1');
  const whole = await readFile(path);
  const random = numbers(SEED);
  let refused = 0;
  for (let round = 0; round < 24; round += 1) {
    await writeFile(path, damaged(whole, random, round % 2 === 0 ? 64 : whole.length));
    const { status, stderr } = await daemon.virsh('snapshot-revert', 'test', 's1');
    if (status !== 0) {
      expect(stderr).toContain(path);
      refused += 1;
    }
    expect(await daemon.ok('domstate', 'test')).toBe('running');
  }
  expect(refused).toBeGreaterThan(12);
  const header = Buffer.from(whole);
  header.writeUInt32LE(0xffff_ffff, 20);
  await writeFile(path, header);
  expect(await daemon.refused('snapshot-revert', 'test', 's1')).toContain(`invalid XML length: 4294967295: ${path}`);
  await writeFile(path, whole);
  await daemon.ok('snapshot-revert', 'test', 's1');
}, 120_000);

test('damaged documents and journal records keep neither the daemon nor other snapshots from their work', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'kept');
  await daemon.ok('snapshot-create-as', 'test', 's1');
  const document = await readFile(metadata('s1'));
  const record = Buffer.from(
    JSON.stringify({
      domain: { name: 'test', uuid: UUID, id: 1 },
      operation: 'create',
      snapshot: 'none',
      flags: 0,
      phase: 'saving',
    }),
  );
  const random = numbers(SEED);
  for (let round = 0; round < 8; round += 1) {
    await daemon.stop('SIGKILL');
    await writeFile(metadata('s1'), damaged(document, random, document.length));
    await mkdir(join(home, 'state/journal'), { recursive: true });
    await writeFile(join(home, `state/journal/${UUID}.json`), damaged(record, random, record.length));
    daemon = await Xlsnapd.start({ home });
    expect((await daemon.ok('snapshot-list', 'test', '--name')).split('\n')).toContain('kept');
    // A record that can still be read has been dealt with; one that cannot is in the way of every change, with its path.
    const records = await readdir(join(home, 'state/journal'));
    if (records.length === 0) await daemon.ok('snapshot-revert', 'test', 'kept');
    else expect(await daemon.refused('snapshot-revert', 'test', 'kept')).toContain(`state/journal/${UUID}.json`);
    await rm(join(home, `state/journal/${UUID}.json`), { force: true });
  }
}, 120_000);

test('a link in the place of a domain’s folder leads nowhere', async () => {
  await mkdir(join(home, 'memory'), { recursive: true });
  await symlink(outside(), join(home, 'memory', UUID));
  expect(await daemon.refused('snapshot-create-as', 'test', 's1')).toContain(
    `'${join(home, 'memory', UUID)}' is a link, not a folder`,
  );
  await rm(join(home, 'memory', UUID));
  await symlink(outside(), join(home, 'snapshot/test'));
  expect(await daemon.refused('snapshot-create-as', 'test', 's1')).toContain(
    `'${join(home, 'snapshot/test')}' is a link, not a folder`,
  );
  expect(await readdir(outside())).toEqual([]);
  await rm(join(home, 'snapshot/test'));
  await daemon.ok('snapshot-create-as', 'test', 's1');
});

test('links in the place of files are neither read nor written through', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'kept');
  const precious = join(outside(), 'precious');
  await writeFile(precious, 'precious');
  await symlink(precious, `${metadata('s1')}.new`);
  await symlink(precious, `${memoryImage('s2')}.partial`);
  expect(await daemon.refused('snapshot-create-as', 'test', 's1')).toContain(`${metadata('s1')}.new`);
  await daemon.ok('snapshot-create-as', 'test', 's2');
  expect((await stat(dirname(precious))).isDirectory()).toBe(true);
  expect(await readFile(precious, 'utf8')).toBe('precious');
  await symlink(metadata('kept'), metadata('other'));
  await daemon.stop();
  daemon = await Xlsnapd.start({ home });
  expect(daemon.log).toContain(`Failed to read snapshot file ${metadata('other')}`);
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept\ns2');
});

test('a link, or a pipe, in the place of a memory image is not read, and a delete takes nothing but it', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  const elsewhere = join(outside(), 'elsewhere');
  const path = memoryImage('s1');
  await rename(path, elsewhere);
  await symlink(elsewhere, path);
  const refusal = `memory image '${path}' is a link, which may lead to any file: put the file itself there`;
  expect(await daemon.refused('snapshot-revert', 'test', 's1')).toContain(refusal);
  expect(await daemon.ok('domstate', 'test', '--reason')).toBe('running (booted)');
  const verify = ['verify', 'test', '--memory-dir', join(home, 'memory')];
  expect((await runProgram(XLSNAP, ['-c', daemon.uri, ...verify])).stdout).toContain(refusal);
  await rm(path);
  execFileSync('mkfifo', [path]);
  expect(await daemon.refused('snapshot-revert', 'test', 's1')).toContain(
    `memory image '${path}' is not a regular file`,
  );
  await rm(path);
  await symlink(elsewhere, path);
  const contents = await readFile(elsewhere);
  await daemon.ok('snapshot-delete', 'test', 's1');
  expect(await contentsOf(join(home, 'memory'))).toEqual([]);
  expect(await readFile(elsewhere)).toEqual(contents);
}, 60_000);

test('of a snapshot without metadata, a link for its memory is not followed either', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await daemon.ok('snapshot-delete', 'test', 's1', '--metadata');
  const elsewhere = join(outside(), 'elsewhere');
  await rename(memoryImage('s1'), elsewhere);
  await symlink(elsewhere, memoryImage('s1'));
  const folders = ['memory', 'snapshot', 'state'].flatMap((name) => [`--${name}-dir`, join(home, name)]);
  const doctor = ['-c', daemon.uri, 'doctor', '--fix', '--orphans', ...folders];
  expect((await runProgram(XLSNAP, doctor)).stderr).toContain(`memory image '${memoryImage('s1')}' is a link`);
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('');
}, 60_000);

test('a journal record that is a link is named, and what it leads to is not done', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'kept');
  await daemon.stop('SIGKILL');
  const record = join(outside(), 'record');
  const path = join(home, `state/journal/${UUID}.json`);
  const pending = { operation: 'delete', snapshot: 'kept', flags: 0, phase: 'delete' };
  await writeFile(record, JSON.stringify({ domain: { name: 'test', uuid: UUID, id: 1 }, ...pending }));
  await symlink(record, path);
  daemon = await Xlsnapd.start({ home });
  expect(daemon.log).toContain(`cannot read file '${path}'`);
  expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('kept');
  expect(await daemon.refused('snapshot-revert', 'test', 'kept')).toContain(`cannot read file '${path}'`);
  await rm(path);
  await daemon.ok('snapshot-revert', 'test', 'kept');
  expect(await readdir(join(home, 'state/journal'))).toEqual([]);
  expect(await readFile(record, 'utf8')).toContain('kept');
});

test('a domain whose name is a path is refused', async () => {
  const file = join(home, 'path.xml');
  for (const name of ['../up', 'a/b']) {
    await writeFile(
      file,
      `<domain type='xen'><name>${name}</name><memory>4096</memory><os><type>hvm</type></os></domain>`,
    );
    expect(await daemon.refused('define', file)).toContain("cannot contain '/'");
  }
});
