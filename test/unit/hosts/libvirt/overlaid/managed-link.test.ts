/** The link in the place of a managed save: one that cannot be made leaves nothing open. */

import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { NewImage } from '../../../../../src/hosts/libvirt/held-image.ts';
import { ManagedLink } from '../../../../../src/hosts/libvirt/overlaid/managed-link.ts';
import { scratchFolder } from '../../../../support/hosts/embedded.ts';
import { refusal } from '../../../../support/refusal.ts';

const openZeros = async () => {
  const files = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
  return (await Promise.all(files)).filter((path) => path === '/dev/zero').length;
};

test('a link that cannot be made is named, and nothing stays open', async () => {
  await using folder = await scratchFolder();
  const image = { path: join(folder.path, 'g.save.partial'), at: `/proc/${process.pid}/fd/3` } as NewImage;
  const before = await openZeros();
  const { message } = await refusal(ManagedLink.make(join(folder.path, 'none/g.save'), image));
  expect(message).toContain(`cannot make link '${folder.path}/none/g.save'`);
  expect(await openZeros()).toBe(before);
  await using _link = await ManagedLink.make(join(folder.path, 'g.save'), image);
  expect(await readlink(join(folder.path, 'g.save'))).toBe(image.at);
});
