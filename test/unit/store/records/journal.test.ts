import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Task } from '../../../../src/snapshots/ports/jobs.ts';
import { FileJournal } from '../../../../src/store/records/journal.ts';

const domain = { name: 'g', uuid: '22222222-2222-3333-4444-777777777777', id: 3 };
const create: Task = { operation: 'create', snapshot: 's1', flags: 4 };
const other = { name: 'h', uuid: '22222222-2222-3333-4444-777777777778', id: -1 };
let dir = '';
let journal: FileJournal;
let logged: string[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'xlsnap-journal-'));
  logged = [];
  journal = new FileJournal(dir, (text) => void logged.push(text));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('nothing was ever begun: nothing is pending', async () => {
  expect(await journal.pending()).toEqual([]);
});

test('an operation is on the disk before it begins, and each phase before it starts', async () => {
  const entry = await journal.begin(domain, create);
  const after = new FileJournal(dir, (text) => void logged.push(text));
  expect(await after.pending()).toEqual([{ domain, ...create, phase: 'begun' }]);
  await entry.phase('saving');
  expect(await after.pending()).toEqual([{ domain, ...create, phase: 'saving' }]);
});

test('an operation that has ended is not pending', async () => {
  const ended = await journal.begin(domain, create);
  await journal.begin(other, { operation: 'revert', snapshot: 's/2', flags: 0 });
  await ended.end();
  expect(await journal.pending()).toMatchObject([{ domain: other, operation: 'revert', snapshot: 's/2' }]);
  await expect(ended.end()).resolves.toBeUndefined();
});

test('a record that cannot be removed is logged, and the operation has ended all the same', async () => {
  const entry = await journal.begin(domain, create);
  const path = join(dir, 'journal', `${domain.uuid}.json`);
  await rm(path);
  await mkdir(path);
  await expect(entry.end()).resolves.toBeUndefined();
  expect(logged).toEqual([expect.stringContaining(`cannot remove file '${path}'`)]);
});

test('a record says what its daemon saves guests by', async () => {
  await new FileJournal(dir, () => {}, 'libvirt').begin(domain, create);
  expect(await journal.pending()).toEqual([{ domain, ...create, phase: 'begun', mechanism: 'libvirt' }]);
});

describe('S13: a record that could not be dealt with is not forgotten', () => {
  const path = () => join(dir, 'journal', `${domain.uuid}.json`);
  const written = () => readFile(path(), 'utf8');
  const again = () => new FileJournal(dir, () => {});
  const unreadable = [
    [
      'of a newer version',
      JSON.stringify({ version: 2, domain, ...create, phase: 'saving' }),
      'written by a newer xlsnap',
    ],
    [
      'of a phase that is not known here',
      JSON.stringify({ version: 1, domain, ...create, phase: 'x' }),
      'install that one',
    ],
    [
      'of a version that is none',
      JSON.stringify({ version: 'x', domain, ...create, phase: 'saving' }),
      'install that one',
    ],
    ['that is damaged', '{"dom', 'install that one again and restart xlsnapd'],
  ] as const;

  test.each(unreadable)('one %s: no operation on its domain overwrites or removes it', async (_what, text, wayOut) => {
    await journal.end(domain);
    await (await journal.begin(other, create)).end();
    await writeFile(path(), text);
    for (const operation of ['create', 'revert', 'delete', 'redefine'] as const) {
      const begun = again().begin(domain, { ...create, operation });
      await expect(begun).rejects.toThrow(wayOut);
      await expect(begun).rejects.toThrow(`until then the snapshots of domain 'g' are not changed`);
      expect(await written()).toBe(text);
    }
    expect(await again().pending()).toMatchObject([
      { uuid: domain.uuid, error: { detail: expect.stringContaining(wayOut) } },
    ]);
    await (await again().begin(other, create)).end();
  });

  test('one of an operation that could not be recovered: another operation is refused with the way out', async () => {
    await (await journal.begin(domain, create)).phase('saving');
    const before = await written();
    for (const task of [create, { ...create, operation: 'delete' as const }]) {
      await expect(again().begin(domain, task)).rejects.toMatchObject({
        code: 'OPERATION_INVALID',
        detail: expect.stringContaining("'systemctl restart xlsnapd' tries again"),
      });
    }
    expect(await written()).toBe(before);
  });

  test.each(['revert', 'delete'] as const)('a %s that is run again finishes it', async (operation) => {
    await journal.begin(domain, { ...create, operation });
    await expect(again().begin(domain, { ...create, operation, snapshot: 's2' })).rejects.toThrow('was interrupted');
    await (await again().begin(domain, { ...create, operation })).end();
    expect(await again().pending()).toEqual([]);
  });

  test('one of an operation that has ended, and could not be removed, is in nobody’s way', async () => {
    const entry = await journal.begin(domain, create);
    await rm(path());
    await mkdir(path());
    await entry.end();
    await rm(path(), { recursive: true });
    await writeFile(path(), 'left');
    await (await journal.begin(domain, create)).end();
  });

  test('an operation that has ended is no excuse for a later one that has not', async () => {
    await (await journal.begin(domain, create)).end();
    await journal.begin(domain, create);
    await expect(journal.begin(domain, create)).rejects.toThrow('was interrupted');
  });

  test('one without a version, from before there were any, is read', async () => {
    await (await journal.begin(other, create)).end();
    await writeFile(path(), JSON.stringify({ domain, ...create, phase: 'saving' }));
    expect(await again().pending()).toEqual([{ domain, ...create, phase: 'saving' }]);
  });
});

test('a record that a crash left half written is not one, and goes', async () => {
  await journal.begin(domain, create);
  await writeFile(join(dir, 'journal', `${other.uuid}.json.new`), '{"dom');
  expect(await journal.pending()).toHaveLength(1);
  expect(await readdir(join(dir, 'journal'))).toEqual([`${domain.uuid}.json`]);
});

const record = { domain: other, ...create, phase: 'saving' };

test.each([
  '',
  '{',
  '{}',
  'null',
  '{"domain":{"name":"g"}}',
  JSON.stringify({ ...record, operation: 'constructor' }),
  JSON.stringify({ ...record, phase: 'delete' }),
  JSON.stringify({ ...record, flags: 1.5 }),
  JSON.stringify({ ...record, domain: { ...other, uuid: '../../etc' } }),
  JSON.stringify({ ...record, domain }),
  JSON.stringify({ ...record, snapshot: 7 }),
  JSON.stringify({ ...record, domain: { ...other, name: 7 } }),
  JSON.stringify({ ...record, mechanism: 'xl' }),
  // Recovery removes files by these paths.
  JSON.stringify({ ...record, args: { memory: true, memory_path: 7 } }),
  JSON.stringify({ ...record, args: { disks: [{ disk: { pdev_path: '/d/a' } }] } }),
  JSON.stringify({ ...record, args: { disks: [{ disk: { vdev: 'xvda', pdev_path: ['/d/a'] } }] } }),
  JSON.stringify({ ...record, args: { disks: [{ disk: { vdev: 'xvda' }, external_path: 7 }] } }),
  JSON.stringify({ ...record, args: {}, abandoned: [{ path: '/d/a', format: 'qcow2' }, { path: 7 }] }),
])('a record %j is refused with its path, and hides no other one', async (text) => {
  await journal.begin(domain, create);
  const damaged = join(dir, 'journal', `${other.uuid}.json`);
  await writeFile(damaged, text);
  const [whole, refused] = await journal.pending();
  expect(whole).toEqual({ domain, ...create, phase: 'begun' });
  const error = { code: 'INTERNAL_ERROR', message: expect.stringContaining(damaged) };
  expect(refused).toMatchObject({ uuid: other.uuid, error });
});

test('a UUID that is none does not leave the folder', async () => {
  await expect(journal.begin({ ...domain, uuid: '../x' }, create)).rejects.toMatchObject({
    code: 'INVALID_ARG',
  });
});

test('a record is one line of JSON', async () => {
  await journal.begin(domain, create);
  const [file = ''] = await readdir(join(dir, 'journal'));
  expect(await readFile(join(dir, 'journal', file), 'utf8')).toMatch(/^\{.*\}\n$/);
});

test('a link is no record, and no folder of records', async () => {
  await journal.begin(domain, create);
  const path = join(dir, 'journal', `${domain.uuid}.json`);
  await rename(path, join(dir, 'elsewhere'));
  await symlink(join(dir, 'elsewhere'), path);
  const error = { detail: expect.stringContaining(`'${path}'`) };
  expect(await journal.pending()).toMatchObject([{ uuid: domain.uuid, error }]);
  await rename(join(dir, 'journal'), join(dir, 'other'));
  await symlink(join(dir, 'other'), join(dir, 'journal'));
  await expect(journal.pending()).rejects.toThrow(`'${join(dir, 'journal')}' is a link, not a folder`);
  await expect(journal.begin(domain, create)).rejects.toThrow(`'${join(dir, 'journal')}' is a link, not a folder`);
});

test('a folder that cannot be read is not taken for one without records', async () => {
  await writeFile(join(dir, 'journal'), '');
  await expect(journal.pending()).rejects.toThrow(`cannot read folder '${join(dir, 'journal')}'`);
});

test('the definition of a guest that is saved is kept, whatever phase comes after it', async () => {
  const entry = await journal.begin(domain, create);
  await entry.definition("<domain type='xen'/>");
  await entry.phase('saving');
  expect(await journal.records()).toMatchObject([{ phase: 'saving', definition: "<domain type='xen'/>" }]);
  const path = join(dir, 'journal', `${domain.uuid}.json`);
  await writeFile(path, (await readFile(path, 'utf8')).replace(/"definition":"[^"]*"/, '"definition":3'));
  expect(await journal.records()).toMatchObject([{ uuid: domain.uuid, error: expect.anything() }]);
});
