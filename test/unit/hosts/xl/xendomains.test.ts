/** The files of xendomains are those of one folder, whatever a guest is called. */

import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { dropSaved, savedFile } from '../../../../src/hosts/xl/xendomains.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

test('a name does not lead out of the folder, and a folder is no saved guest', async () => {
  await using folder = await scratchFolder();
  const save = join(folder.path, 'save');
  await mkdir(join(save, 'below'), { recursive: true });
  for (const name of ['vm', 'other']) await writeFile(join(save, name), '');
  await writeFile(join(folder.path, 'elsewhere'), '');
  expect(await savedFile(save, 'vm')).toBe(join(save, 'vm'));
  for (const name of ['../elsewhere', 'below', 'lost']) {
    expect(await savedFile(save, name)).toBeUndefined();
    await dropSaved(save, name);
  }
  await dropSaved(save, 'vm');
  expect(await readdir(save)).toEqual(['below', 'other']);
  expect(await readdir(folder.path)).toContain('elsewhere');
});
