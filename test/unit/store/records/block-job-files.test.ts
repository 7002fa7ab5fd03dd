/** Records of block jobs, which a daemon that is started again reads. */

import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { BlockJob } from '../../../../src/model/blocks/block-job.ts';
import { BlockJobFiles } from '../../../../src/store/records/block-job-files.ts';

const GUEST = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 4 };
const [top, middle, base] = ['/top', '/middle', '/base'].map((path) => ({ path, format: 'qcow2' }));
if (!top || !middle || !base) throw new Error('three images');
const JOBS: readonly BlockJob[] = [
  {
    ...{ kind: 'commit', disk: 'xvda', remove: true },
    layer: { disk: 'xvda', top: middle, base, above: top, between: [middle] },
  },
  { kind: 'pull', disk: 'xvdb', active: top, base, between: [middle] },
  {
    ...{ kind: 'copy', disk: 'xvdc', source: top, target: middle, backing: base, left: [top], reuse: false },
    ...{ discard: 'unmap', synchronous: false },
  },
];

let dir: string;
let files: BlockJobFiles;

const record = () => join(dir, 'block-jobs', `${GUEST.uuid}.json`);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'block-job-files-'));
  files = new BlockJobFiles(dir);
});

afterEach(() => rm(dir, { recursive: true }));

test('jobs of every kind read back as they were; without jobs no record is left', async () => {
  expect(await files.load()).toEqual([]);
  await files.write(GUEST, JOBS);
  expect(await files.load()).toEqual([{ domain: GUEST, jobs: JOBS }]);
  await files.write(GUEST, []);
  expect(await readdir(join(dir, 'block-jobs'))).toEqual([]);
});

const [first, pull, copy] = JOBS;
test.each<readonly [string, unknown, string]>([
  ['of a newer version', { version: 2, domain: GUEST, jobs: JOBS }, 'written by a newer xlsnap'],
  ['that is no JSON', '{', 'is not a record of block jobs'],
  ['without a domain', { version: 1, jobs: JOBS }, 'is not a record of block jobs'],
  ['whose domain has no id', { version: 1, domain: { ...GUEST, id: '4' }, jobs: [] }, 'is not a record of block jobs'],
  [
    'of a kind that is not known',
    { domain: GUEST, jobs: [{ ...first, kind: 'backup' }] },
    'is not a record of block jobs',
  ],
  ['of no disk', { domain: GUEST, jobs: [{ ...first, disk: 7 }] }, 'is not a record of block jobs'],
  [
    'whose image has no format',
    { domain: GUEST, jobs: [{ ...first, layer: { disk: 'xvda', top, base: { path: '/base' } } }] },
    'is not a record of block jobs',
  ],
  [
    'of a kind that every object has',
    { domain: GUEST, jobs: [{ ...first, kind: 'toString' }] },
    'is not a record of block jobs',
  ],
  [
    'whose image above has no path',
    { domain: GUEST, jobs: [{ ...first, layer: { disk: 'xvda', top, base, above: { format: 'raw' } } }] },
    'is not a record of block jobs',
  ],
  [
    'whose image between has no format',
    { domain: GUEST, jobs: [{ ...first, layer: { disk: 'xvda', top, base, between: [{ path: '/m' }] } }] },
    'is not a record of block jobs',
  ],
  [
    'of a pull from no image',
    { domain: GUEST, jobs: [{ ...pull, base: { path: 7 } }] },
    'is not a record of block jobs',
  ],
  ['of a copy to no path', { domain: GUEST, jobs: [{ ...copy, target: {} }] }, 'is not a record of block jobs'],
  [
    'of a copy that leaves no path',
    { domain: GUEST, jobs: [{ ...copy, left: [{ format: 'raw' }] }] },
    'is not a record of block jobs',
  ],
  [
    'of another domain',
    { domain: { ...GUEST, uuid: '22' }, jobs: [] },
    'is a record of block jobs of another domain, 22',
  ],
])('a record %s is named with its domain, and stays as it is', async (_what, content, reason) => {
  await mkdir(join(dir, 'block-jobs'));
  const text = typeof content === 'string' ? content : JSON.stringify(content);
  await writeFile(record(), text);
  const [found] = await files.load();
  if (!found || !('error' in found)) throw new Error('it was read');
  expect(found).toMatchObject({ uuid: GUEST.uuid, error: { code: 'INTERNAL_ERROR' } });
  expect(found.error.detail).toContain(reason);
  expect(found.error.detail).toContain(record());
  expect(await readFile(record(), 'utf8')).toBe(text);
});

test('a link in place of the folder is refused: it may lead to records of somebody else', async () => {
  await mkdir(join(dir, 'elsewhere'));
  await symlink('elsewhere', join(dir, 'block-jobs'));
  await expect(files.load()).rejects.toThrow('is a link, not a folder');
  await expect(files.write(GUEST, JOBS)).rejects.toThrow('is a link, not a folder');
  expect(await readdir(join(dir, 'elsewhere'))).toEqual([]);
});

test('a folder that cannot be read is refused: nobody knows which jobs it holds', async () => {
  await writeFile(join(dir, 'block-jobs'), '');
  await expect(files.load()).rejects.toThrow(`cannot read folder '${join(dir, 'block-jobs')}'`);
});
