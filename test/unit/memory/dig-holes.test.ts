import { statSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { digHoles } from '../../../src/memory/dig-holes.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

test('blocks of zeros become holes, and the file stays the same', async () => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'image');
  const bytes = Buffer.alloc(1 << 20);
  bytes.write('first');
  bytes.write('last', bytes.length - 4);
  await using file = await open(path, 'wx');
  await file.writeFile(bytes);
  await file.sync();
  await digHoles(path);
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 * 4096);
});

test('a file that is not there is an error', async () => {
  await expect(digHoles('/nonexistent/image')).rejects.toMatchObject({ code: 'ENOENT' });
});
