import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { DoctorFinding } from '../../../../src/cli/doctor/file-rules.ts';
import { mend } from '../../../../src/cli/doctor/mend.ts';
import type { RpcClient } from '../../../../src/rpc/client/client.ts';
import { FileJournal } from '../../../../src/store/records/journal.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

const domain = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: -1 };

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let journal: FileJournal;

beforeEach(async () => {
  folder = await scratchFolder();
  journal = new FileJournal(folder.path, () => {});
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

/** Nothing that is tried here asks the daemon. */
const client = {} as RpcClient;

const mended = (finding: Pick<DoctorFinding, 'removal' | 'orphan'>, orphans = false) => {
  const folders = { snapshotDir: '', memoryDir: folder.path, stateDir: '' };
  return mend(client, journal, folders, { level: 'problem', problem: '', wayOut: '', ...finding }, { orphans });
};

test('what is left over is removed, unless an operation on its domain has begun since it was found', async () => {
  const path = join(folder.path, 's1.save.partial');
  await writeFile(path, 'half');
  const removal = { path, what: 'file', uuid: domain.uuid } as const;
  const entry = await journal.begin(domain, { operation: 'create', snapshot: 's1', flags: 0 });
  expect(await mended({ removal })).toEqual({ refused: expect.stringContaining('an operation has begun') });
  expect(existsSync(path)).toBe(true);
  await entry.end();
  expect(await mended({ removal })).toEqual({ done: `Removed file ${path}` });
  expect(existsSync(path)).toBe(false);
});

test('a folder that is no longer empty stays', async () => {
  const path = join(folder.path, 'g');
  await mkdir(path);
  await writeFile(join(path, 's1.xml'), '');
  await mended({ removal: { path, what: 'empty folder', uuid: undefined } });
  expect(existsSync(join(path, 's1.xml'))).toBe(true);
});

test('what holds data goes only if that is asked for', async () => {
  const orphan = { uuid: domain.uuid, snapshot: 's1', memoryPath: join(folder.path, 's1.save') };
  expect(await mended({ orphan })).toEqual({});
});
