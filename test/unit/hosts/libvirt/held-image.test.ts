import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { holdImage, makeImage } from '../../../../src/hosts/libvirt/held-image.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

const own = process.geteuid?.() ?? -1;

test.each([
  ['of the same user and processes gets the open file', own, true, /^\/proc\/\d+\/fd\/\d+$/],
  ['in another process namespace, where that name means nothing, the path', own, false, /\/image$/],
  ['of another user, who may not open it by that name, too', 65_534, true, /\/image$/],
])('a libvirtd %s', async (_, owner, shares, name) => {
  await using folder = await scratchFolder();
  const path = join(folder.path, 'image');
  await writeFile(path, '', { mode: 0o600 });
  const libvirtd = { socketOwner: async () => owner, sharesProcesses: async () => shares };
  for (const open of [holdImage, makeImage]) {
    await using image = await open(libvirtd, path);
    expect(image.at).toMatch(name);
    expect(image.path).toBe(path);
  }
});
