import { mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { LiveDiskFiles } from '../../../src/store/live-disks.ts';

const RUN = { name: 'vm', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 7 };
const OVERLAY = { path: '/d/a.s1', format: 'qcow2' };

let dir: string;
const logged: string[] = [];
const open = () => LiveDiskFiles.open(dir, (text) => logged.push(text));

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'live-disks-'));
  logged.length = 0;
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('what a run’s disks stand on is known at once, and to the next daemon', async () => {
  const before = await open();
  expect(before.of(RUN).size).toBe(0);
  await before.set(RUN, new Map([['xvda', OVERLAY]]));
  await before.set(RUN, new Map([['xvdb', OVERLAY]]));
  const disks = new Map([
    ['xvda', OVERLAY],
    ['xvdb', OVERLAY],
  ]);
  expect(before.of(RUN)).toEqual(disks);
  expect((await open()).of(RUN)).toEqual(disks);
});

test('another run of the same domain knows nothing of it', async () => {
  const disks = await open();
  await disks.set(RUN, new Map([['xvda', OVERLAY]]));
  expect(disks.of({ ...RUN, id: 8 }).size).toBe(0);
  expect(disks.has(RUN.uuid)).toBe(true);
});

test('it is forgotten with the run, also by looking at which runs there are', async () => {
  const disks = await open();
  await disks.set(RUN, new Map([['xvda', OVERLAY]]));
  await disks.keep([RUN]);
  expect(disks.has(RUN.uuid)).toBe(true);
  await disks.keep([{ ...RUN, id: 8 }]);
  expect(disks.has(RUN.uuid)).toBe(false);
  expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
  await disks.forget(RUN.uuid);
});

test('after the machine has started anew a record is of no account, and goes', async () => {
  await (await open()).set(RUN, new Map([['xvda', OVERLAY]]));
  const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
  await writeFile(path, JSON.stringify({ boot: 'another', id: 7, disks: { xvda: OVERLAY } }));
  expect((await open()).of(RUN).size).toBe(0);
  expect(logged).toEqual([]);
  expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
});

test.each(['', '{}', '{"id":7,"disks":{"xvda":{"path":3}}}', 'null'])(
  'a damaged record (%s) is told, and left',
  async (text) => {
    await (await open()).set(RUN, new Map([['xvda', OVERLAY]]));
    const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
    await writeFile(path, text);
    expect((await open()).of(RUN).size).toBe(0);
    expect(logged).toEqual([expect.stringContaining(path)]);
    expect(await readdir(join(dir, 'live-disks'))).toHaveLength(1);
  },
);

test('a link in the place of a record, or of their folder, is told and not followed', async () => {
  await (await open()).set(RUN, new Map([['xvda', OVERLAY]]));
  const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
  await rename(path, join(dir, 'elsewhere'));
  await symlink(join(dir, 'elsewhere'), path);
  expect((await open()).has(RUN.uuid)).toBe(false);
  expect(logged.join()).toContain(`cannot use '${path}'`);
  await rename(join(dir, 'live-disks'), join(dir, 'other'));
  await symlink(join(dir, 'other'), join(dir, 'live-disks'));
  await expect((await open()).set(RUN, new Map())).rejects.toThrow('is a link, not a folder');
});
