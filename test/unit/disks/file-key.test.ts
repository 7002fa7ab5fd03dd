/** What block devices stand on, by what the kernel shows in /sys. The host has none of these devices. */

import { mkdir, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { fileKey, keysBelow } from '../../../src/disks/file-key.ts';
import { scratchFolder } from '../../support/hosts/embedded.ts';

/** The device of the machine's that the first entry of the tree stands for. */
const REAL = ['/dev/loop0', '/dev/ram0', '/dev/vda', '/dev/sda', '/dev/nvme0n1'];

async function realDevice(): Promise<{ readonly path: string; readonly number: string } | undefined> {
  for (const path of REAL) {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (found?.isBlockDevice()) return { path, number: `${(found.rdev >> 8n) & 0xfffn}:${found.rdev & 0xffn}` };
  }
  return undefined;
}

test('a partition stands on its disk, a volume on its devices, a loop device on its file', async () => {
  const device = await realDevice();
  if (!device) throw new Error(`this machine has none of ${REAL.join(', ')}`);
  await using folder = await scratchFolder();
  const [root, devices, image] = [join(folder.path, 'devices'), join(folder.path, 'block'), join(folder.path, 'image')];
  const attribute = async (path: string, text: string) => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${text}\n`);
  };
  await writeFile(image, '');
  await mkdir(devices);
  // A linear volume on the second partition of a loop device with an offset.
  await attribute(join(root, 'loop7/dev'), '7:7');
  await attribute(join(root, 'loop7/loop/backing_file'), image);
  await attribute(join(root, 'loop7/loop/offset'), '4096');
  await attribute(join(root, 'loop7/loop7p2/dev'), '259:300');
  await attribute(join(root, 'loop7/loop7p2/partition'), '2');
  await attribute(join(root, 'dm-0/dev'), device.number);
  await mkdir(join(root, 'dm-0/slaves'));
  await symlink(join(root, 'loop7/loop7p2'), join(root, 'dm-0/slaves/loop7p2'));
  for (const [number, at] of [
    [device.number, 'dm-0'],
    ['259:300', 'loop7/loop7p2'],
    ['7:7', 'loop7'],
  ] as const) {
    await symlink(join(root, at), join(devices, number));
  }
  const partition = (259n << 8n) | (300n & 0xffn) | ((300n & ~0xffn) << 12n);
  expect([...(await keysBelow(device.path, devices))]).toEqual([
    `device ${partition}`,
    `device ${(7n << 8n) | 7n}`,
    await fileKey(image),
  ]);
  expect([...(await keysBelow(image, devices))]).toEqual([]);
  expect([...(await keysBelow(join(folder.path, 'missing'), devices))]).toEqual([]);
});
