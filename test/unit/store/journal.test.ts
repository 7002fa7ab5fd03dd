import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { FileJournal } from '../../../src/store/journal.ts';

const domain = { name: 'g', uuid: '22222222-2222-3333-4444-777777777777', id: 3 };
const other = { name: 'h', uuid: '22222222-2222-3333-4444-777777777778', id: -1 };
let dir = '';
let journal: FileJournal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'xlsnap-journal-'));
  journal = new FileJournal(dir);
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

test('nothing was ever begun: nothing is pending', async () => {
  expect(await journal.pending()).toEqual([]);
});

test('an operation is on the disk before it begins, and each phase before it starts', async () => {
  const entry = await journal.begin(domain, 'create', 's1');
  const after = new FileJournal(dir);
  expect(await after.pending()).toEqual([{ domain, operation: 'create', snapshot: 's1', phase: 'begun' }]);
  await entry.phase('suspend');
  expect(await after.pending()).toEqual([{ domain, operation: 'create', snapshot: 's1', phase: 'suspend' }]);
});

test('an operation that has ended is not pending', async () => {
  const ended = await journal.begin(domain, 'create', 's1');
  await journal.begin(other, 'revert', 's/2');
  await ended.end();
  expect(await journal.pending()).toEqual([{ domain: other, operation: 'revert', snapshot: 's/2', phase: 'begun' }]);
  await expect(ended.end()).resolves.toBeUndefined();
});

test('a domain has one record, that of its last operation', async () => {
  await journal.begin(domain, 'create', 's1');
  await journal.begin(domain, 'delete', 's2');
  expect(await journal.pending()).toMatchObject([{ operation: 'delete', snapshot: 's2' }]);
});

test('a record that a crash left half written is not one', async () => {
  await journal.begin(domain, 'create', 's1');
  await writeFile(join(dir, 'journal', `${other.uuid}.json.new`), '{"dom');
  expect(await journal.pending()).toHaveLength(1);
});

test.each(['', '{', '{}', 'null', '{"domain":{"name":"g"}}'])('a record %j is refused with its path', async (text) => {
  await mkdir(join(dir, 'journal'));
  await writeFile(join(dir, 'journal', 'x.json'), text);
  await expect(journal.pending()).rejects.toMatchObject({
    code: 'INTERNAL_ERROR',
    message: expect.stringContaining(join(dir, 'journal', 'x.json')),
  });
});

test('a UUID that is none does not leave the folder', async () => {
  await expect(journal.begin({ ...domain, uuid: '../x' }, 'create', 's1')).rejects.toMatchObject({
    code: 'INVALID_ARG',
  });
});

test('a record is one line of JSON', async () => {
  await journal.begin(domain, 'create', 's1');
  const [file = ''] = await readdir(join(dir, 'journal'));
  expect(await readFile(join(dir, 'journal', file), 'utf8')).toMatch(/^\{.*\}\n$/);
});
