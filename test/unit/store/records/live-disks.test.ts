import { mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { LiveDiskFiles } from '../../../../src/store/records/live-disks.ts';

const RUN = { name: 'vm', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 7 };
const OVERLAY = { path: '/d/a.s1', format: 'qcow2' };
/** The domain's disks as libvirtd shows them, each on its first image unless another is named. */
const disk = (target: string, path = `/d/${target}.qcow2`, bus = 'xen') => ({
  ...({ target, path, bus, device: 'disk', type: 'file', format: 'qcow2', driver: 'qemu' } as const),
  ...({ hasSource: true, readonly: false, shareable: false, snapshot: 'default' } as const),
});
const SHOWN = [disk('xvda'), disk('xvdb')];

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
  expect(before.of(RUN, SHOWN).size).toBe(0);
  await before.set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  await before.set(RUN, new Map([['xvdb', OVERLAY]]), SHOWN);
  const disks = new Map([
    ['xvda', OVERLAY],
    ['xvdb', OVERLAY],
  ]);
  expect(before.of(RUN, SHOWN)).toEqual(disks);
  expect((await open()).of(RUN, SHOWN)).toEqual(disks);
});

test.each([
  ['detached', []],
  ['another image under the same target', [disk('xvda', '/d/other.qcow2')]],
  ['an empty drive', [{ ...disk('xvda'), path: undefined, hasSource: false }]],
  ['the same image on another bus', [disk('xvda', undefined, 'ide')]],
])('a disk that libvirtd shows as another (%s) is on no overlay; seen once, it stays so', async (_, now) => {
  const disks = await open();
  await disks.set(
    RUN,
    new Map([
      ['xvda', OVERLAY],
      ['xvdb', OVERLAY],
    ]),
    SHOWN,
  );
  const shown = [...now, disk('xvdb')] as typeof SHOWN;
  expect([...disks.of(RUN, shown).keys()]).toEqual(['xvdb']);
  expect([...disks.of(RUN, SHOWN).keys()]).toEqual(['xvda', 'xvdb']);
  expect(await disks.keepDisks(RUN, shown)).toEqual(['xvda']);
  expect(await disks.keepDisks(RUN, shown)).toEqual([]);
  expect([...disks.of(RUN, SHOWN).keys()]).toEqual(['xvdb']);
  expect([...(await open()).of(RUN, SHOWN).keys()]).toEqual(['xvdb']);
});

test('a disk that is on the image that libvirtd shows needs no record; without any the domain has none', async () => {
  const disks = await open();
  await disks.set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  await disks.set(RUN, new Map([['xvda', { path: '/d/xvda.qcow2', format: 'qcow2' }]]), SHOWN);
  expect(disks.has(RUN.uuid)).toBe(false);
  expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
});

test('another run of the same domain knows nothing of it', async () => {
  const disks = await open();
  await disks.set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  expect(disks.of({ ...RUN, id: 8 }, SHOWN).size).toBe(0);
  expect(disks.has(RUN.uuid)).toBe(true);
});

test('it is forgotten with the run, also by looking at which runs there are', async () => {
  const disks = await open();
  await disks.set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  await disks.keep([RUN]);
  expect(disks.has(RUN.uuid)).toBe(true);
  await disks.keep([{ ...RUN, id: 8 }]);
  expect(disks.has(RUN.uuid)).toBe(false);
  expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
  await disks.forget(RUN.uuid);
});

test('after the machine has started anew a record is of no account, and goes', async () => {
  await (await open()).set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
  await writeFile(
    path,
    JSON.stringify({
      boot: 'another',
      id: 7,
      disks: { xvda: { ...OVERLAY, shown: { path: '/d/xvda.qcow2', bus: 'xen' } } },
    }),
  );
  expect((await open()).of(RUN, SHOWN).size).toBe(0);
  expect(logged).toEqual([]);
  expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
});

test.each([
  ...['', '{}', 'null', '{"version":2}', '{"boot":"b","id":7,"disks":{"xvda":{"path":3}}}'],
  '{"boot":"b","id":7,"disks":{"xvda":{"path":"/d/a.s1","format":"qcow2"}}}',
])(
  'S13: a record that cannot be read (%s) is logged and kept, and its domain refused until that run has ended',
  async (text) => {
    await (await open()).set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
    const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
    await writeFile(path, text);
    const disks = await open();
    expect(logged).toEqual([expect.stringContaining(path)]);
    expect(disks.any && disks.has(RUN.uuid)).toBe(true);
    const refused = `nobody knows which images domain 'vm' uses while it runs: '${path}'`;
    expect(() => disks.of(RUN, SHOWN)).toThrow(refused);
    await expect(disks.set(RUN, new Map([['xvda', OVERLAY]]), SHOWN)).rejects.toThrow(refused);
    await expect(disks.keepDisks(RUN, [])).rejects.toThrow(refused);
    await disks.keep([RUN]);
    expect(await readFile(path, 'utf8')).toBe(text);
    expect(disks.of({ ...RUN, id: -1 }, SHOWN).size).toBe(0);
    await disks.forget(RUN.uuid);
    expect(disks.of({ ...RUN, id: 8 }, SHOWN).size).toBe(0);
    expect(await readdir(join(dir, 'live-disks'))).toEqual([]);
  },
);

test('a record that cannot be read is of no account once its domain is off', async () => {
  await (await open()).set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  await writeFile(join(dir, 'live-disks', `${RUN.uuid}.json`), '{');
  const disks = await open();
  await disks.keep([{ ...RUN, id: -1 }]);
  expect(disks.has(RUN.uuid)).toBe(false);
});

test('a link in the place of a record, or of their folder, is told and not followed', async () => {
  await (await open()).set(RUN, new Map([['xvda', OVERLAY]]), SHOWN);
  const path = join(dir, 'live-disks', `${RUN.uuid}.json`);
  await rename(path, join(dir, 'elsewhere'));
  await symlink(join(dir, 'elsewhere'), path);
  expect((await open()).has(RUN.uuid)).toBe(true);
  expect(logged.join()).toContain(`cannot read file '${path}'`);
  const disks = await open();
  await rename(join(dir, 'live-disks'), join(dir, 'other'));
  await symlink(join(dir, 'other'), join(dir, 'live-disks'));
  await expect(disks.set({ ...RUN, uuid: 'other' }, new Map([['xvda', OVERLAY]]), SHOWN)).rejects.toThrow('is a link');
  await expect(open()).rejects.toThrow('is a link, not a folder');
});

test('a folder that cannot be read is refused: a domain would be taken to run on its base images', async () => {
  await writeFile(join(dir, 'live-disks'), '');
  await expect(open()).rejects.toThrow(`cannot read folder '${join(dir, 'live-disks')}'`);
});
