import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  makeFolder,
  refuseLink,
  removeEmptyFolder,
  removeFile,
  renameFolder,
  writeFileAtomically,
} from '../../../src/store/atomic-file.ts';
import { recordSyncs } from '../../support/syncs.ts';

let dir = '';

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'xlsnap-atomic-'));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

describe('writing a file', () => {
  test('replaces what was there, and what a crash left of an earlier try', async () => {
    const path = join(dir, 'f');
    await writeFile(path, 'old and longer');
    await writeFile(`${path}.new`, 'half of something else that is longer');
    await writeFileAtomically(path, 'new');
    expect(await readFile(path, 'utf8')).toBe('new');
    expect(await readdir(dir)).toEqual(['f']);
  });

  test('is never seen half done', async () => {
    const path = join(dir, 'f');
    const texts = ['a', 'b'].map((letter) => letter.repeat(100_000));
    await writeFileAtomically(path, texts[0] ?? '');
    let reading = true;
    const seen = (async () => {
      const found = new Set<string>();
      while (reading) found.add(await readFile(path, 'utf8'));
      return found;
    })();
    for (let round = 0; round < 20; round += 1) await writeFileAtomically(path, texts[round % 2] ?? '');
    reading = false;
    for (const text of await seen) expect(texts).toContain(text);
  });

  test('into a folder that is not there names the file, and errno goes to the client', async () => {
    await expect(writeFileAtomically(join(dir, 'none/f'), 'x')).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `cannot write file '${join(dir, 'none/f.new')}': No such file or directory`,
      fields: expect.objectContaining({ int1: 2 }),
    });
  });

  test('over a folder fails and leaves no rest', async () => {
    await mkdir(join(dir, 'f'));
    await expect(writeFileAtomically(join(dir, 'f'), 'x')).rejects.toThrow(
      `cannot rename file '${join(dir, 'f.new')}' as '${join(dir, 'f')}'`,
    );
    expect(await readdir(dir)).toEqual(['f']);
  });
});

describe('folders', () => {
  test('are made with all those above them', async () => {
    await makeFolder(join(dir, 'a/b/c'), 0o700);
    for (const folder of ['a', 'a/b', 'a/b/c']) expect((await stat(join(dir, folder))).mode & 0o777).toBe(0o700);
  });

  test('that are there stay as they are, whoever makes them first', async () => {
    await mkdir(join(dir, 'a'), { mode: 0o750 });
    await Promise.all([1, 2, 3].map(() => makeFolder(join(dir, 'a/b'), 0o700)));
    expect((await stat(join(dir, 'a'))).mode & 0o777).toBe(0o750);
  });

  test('go when they are empty, and only then', async () => {
    await makeFolder(join(dir, 'a'), 0o700);
    await writeFile(join(dir, 'a/f'), '');
    await removeEmptyFolder(join(dir, 'a'));
    expect(await readdir(dir)).toEqual(['a']);
    await removeFile(join(dir, 'a/f'));
    await removeEmptyFolder(join(dir, 'a'));
    expect(await readdir(dir)).toEqual([]);
    await expect(removeEmptyFolder(join(dir, 'a'))).resolves.toBeUndefined();
  });
});

test('removing a file that is gone is no error, removing a folder as one is', async () => {
  await expect(removeFile(join(dir, 'f'))).resolves.toBeUndefined();
  await mkdir(join(dir, 'f'));
  await expect(removeFile(join(dir, 'f'))).rejects.toThrow(`cannot remove file '${join(dir, 'f')}'`);
});

describe('is on stable storage when it is done', () => {
  /** What is synced in `dir` while `work` runs, and which files are there then. */
  async function synced(work: () => Promise<void>): Promise<readonly string[]> {
    using recorded = await recordSyncs(() => readdir(dir));
    await work();
    return recorded.syncs.map(({ path, seen }) => `${relative(dir, path) || '.'}: ${seen}`);
  }

  test('a file, before it has its name, and then the name', async () => {
    expect(await synced(() => writeFileAtomically(join(dir, 'f'), 'x'))).toEqual(['f.new: f.new', '.: f']);
    expect(await synced(() => writeFileAtomically(join(dir, 'f'), 'y'))).toEqual(['f.new: f,f.new', '.: f']);
  });

  test.each([0o600, 0o644])('with mode %o before it has its name', async (mode) => {
    const modes = async () =>
      Promise.all((await readdir(dir)).map(async (name) => (await stat(join(dir, name))).mode & 0o777));
    using recorded = await recordSyncs(modes);
    await writeFileAtomically(join(dir, 'f'), 'x', mode);
    expect(recorded.syncs.map(({ seen }) => seen)).toEqual([[mode], [mode]]);
  });

  test('a removal, of a file and of a folder', async () => {
    await writeFile(join(dir, 'f'), '');
    expect(await synced(() => removeFile(join(dir, 'f')))).toEqual(['.: ']);
    await mkdir(join(dir, 'a'));
    expect(await synced(() => removeEmptyFolder(join(dir, 'a')))).toEqual(['.: ']);
  });

  test('new folders, from the top, and another name of one', async () => {
    expect(await synced(() => makeFolder(join(dir, 'a/b'), 0o700))).toEqual(['.: a', 'a: a']);
    expect(await synced(() => renameFolder(join(dir, 'a'), join(dir, 'c')))).toEqual(['.: c']);
  });
});

test('a pipe in the place of the new file is not waited for, and not written to', async () => {
  execFileSync('mkfifo', [join(dir, 'f.new')]);
  await expect(writeFileAtomically(join(dir, 'f'), 'x')).rejects.toThrow(`cannot write file '${join(dir, 'f.new')}'`);
  execFileSync('mkfifo', [join(dir, 'f.new')]);
  await using reader = await open(join(dir, 'f.new'), constants.O_RDWR | constants.O_NONBLOCK);
  await expect(writeFileAtomically(join(dir, 'f'), 'x')).rejects.toThrow('is not a regular file');
  const { bytesRead } = await reader.read(Buffer.alloc(1)).catch(() => ({ bytesRead: 0 }));
  expect(bytesRead).toBe(0);
  expect(await readdir(dir)).toEqual([]);
});

test('a link in the place of the new file is not followed, which would write elsewhere', async () => {
  await writeFile(join(dir, 'elsewhere'), 'of somebody else');
  await symlink(join(dir, 'elsewhere'), join(dir, 'f.new'));
  await expect(writeFileAtomically(join(dir, 'f'), 'x')).rejects.toThrow(`cannot write file '${join(dir, 'f.new')}'`);
  expect(await readFile(join(dir, 'elsewhere'), 'utf8')).toBe('of somebody else');
});

test('a file is no folder: none is made in its place, and nothing is found below it', async () => {
  await writeFile(join(dir, 'f'), '');
  await expect(makeFolder(join(dir, 'f'), 0o700)).rejects.toThrow(`cannot create folder '${join(dir, 'f')}'`);
  await expect(refuseLink(join(dir, 'f/below'))).rejects.toThrow(`cannot look at folder '${join(dir, 'f/below')}'`);
});

test('a change that may not be on stable storage is an error', async () => {
  await writeFile(join(dir, 'f'), '');
  using _failing = await recordSyncs(() => Promise.reject(new Error('disk full')));
  await expect(removeFile(join(dir, 'f'))).rejects.toThrow(`cannot sync folder '${dir}'`);
});
