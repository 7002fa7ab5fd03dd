/** Backing chains are read as QEMU reads them, whatever their headers call the images. */

import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readChain } from '../../src/disks/chain/chains.ts';
import { fileKey } from '../../src/disks/file-key.ts';
import { hasReason } from '../../src/errors.ts';
import { writeOverlay } from '../support/disks/overlay-headers.ts';
import { scratchFolder } from '../support/hosts/embedded.ts';

const run = promisify(execFile);
const json = (options: object) => `json:${JSON.stringify(options)}`;

/** How a header names the image of this name in this folder; `format` is the image's. */
const SPELLINGS = {
  'a path': (folder: string, name: string) => join(folder, name),
  'an odd path': (folder: string, name: string) => `${folder}//sub/.././${name}`,
  'a relative path': (_: string, name: string) => `./${name}`,
  'a link': (folder: string, name: string) => join(folder, `${name}.link`),
  'a link in another folder': (folder: string, name: string) => join(folder, 'sub', name),
  'file:': (folder: string, name: string) => `file:${join(folder, name)}`,
  'json: nested': (folder: string, name: string, format: string) =>
    json({ driver: format, file: { driver: 'file', filename: join(folder, name) } }),
  'json: dotted': (folder: string, name: string, format: string) =>
    json({ driver: format, 'file.driver': 'file', 'file.filename': join(folder, name) }),
  'json: without a driver': (folder: string, name: string) => json({ file: { filename: join(folder, name) } }),
  'json: through raw': (folder: string, name: string, format: string) =>
    json({ driver: format, file: { driver: 'raw', file: { driver: 'file', filename: join(folder, name) } } }),
  'json: in single quotes': (folder: string, name: string, format: string) =>
    `json:{'driver':'${format}','file.filename':'${join(folder, name)}'}`,
} as const;

interface Image {
  readonly format: 'qcow2' | 'raw';
  /** How many images before this one its backing image was made. */
  readonly backing: 1 | 2 | 'missing' | 'none';
  readonly spelling: keyof typeof SPELLINGS;
  /** The format in the header: the image's own, none, or what may be wrong. */
  readonly states: 'its own' | 'none' | 'qcow2' | 'raw';
}

const NAMES = ['plain', 'with space', 'with:colon', 'with,comma', 'überall', 'with%41', 'json'];

const image: fc.Arbitrary<Image> = fc.record({
  format: fc.constantFrom('qcow2', 'qcow2', 'qcow2', 'qcow2', 'raw'),
  backing: fc.constantFrom<Image['backing']>(1, 1, 1, 1, 1, 2, 2, 'missing', 'none'),
  spelling: fc.constantFrom(...(Object.keys(SPELLINGS) as (keyof typeof SPELLINGS)[])),
  states: fc.constantFrom('its own', 'its own', 'none', 'none', 'qcow2', 'raw'),
});

async function writeImages(folder: string, images: readonly Image[]): Promise<void> {
  await mkdir(join(folder, 'sub'));
  for (const [index, { format, backing, spelling, states }] of images.entries()) {
    const name = NAMES[index] ?? '';
    const path = join(folder, name);
    if (format === 'raw') await writeFile(path, Buffer.alloc(1 << 20));
    else if (backing === 'none' || index === 0) await writeOverlay(path, {});
    else {
      const base = backing === 'missing' ? -1 : Math.max(index - backing, 0);
      const below = { name: NAMES[base] ?? 'gone', format: images[base]?.format ?? 'qcow2' };
      const stated = states === 'its own' ? below.format : states === 'none' ? undefined : states;
      await writeOverlay(path, {
        backing: SPELLINGS[spelling](folder, below.name, below.format),
        ...(stated !== undefined && { format: stated }),
      });
    }
    await symlink(path, join(folder, `${name}.link`));
    await symlink(path, join(folder, 'sub', name));
  }
}

/** `file format` of each layer, or undefined for a chain that has no end. */
async function byQemu(path: string, format: string): Promise<readonly string[] | undefined> {
  const args = ['info', '--backing-chain', '--output=json', '-f', format, path];
  const { stdout } = await run('qemu-img', args).catch(() => ({ stdout: undefined }));
  if (stdout === undefined) return undefined;
  const layers = JSON.parse(stdout) as readonly { readonly filename: string; readonly format: string }[];
  return await Promise.all(layers.map(async (layer) => `${await fileKey(pathOf(layer.filename))} ${layer.format}`));
}

/** QEMU says by its options what it has opened with a filter or a format in between. */
function pathOf(filename: string): string {
  if (!filename.startsWith('json:')) return filename;
  let options = JSON.parse(filename.slice('json:'.length));
  while (options.file) options = options.file;
  return options.filename;
}

async function byUs(path: string, format: string): Promise<readonly string[] | undefined> {
  const { layers, broken, remote } = await readChain({ path, format });
  expect(remote).toBe(undefined);
  if (broken === undefined) return layers.map((layer) => `${layer.key} ${layer.format}`);
  // Nothing here is beyond the reader: either an image is missing, or it is not what the header above says.
  if (!hasReason(broken.error, 'image-missing')) expect(broken.error.detail).toContain('not in qcow2 format');
  return undefined;
}

test('a chain has the images and formats that `qemu-img info --backing-chain` reports, or no end in either', async () => {
  let followed = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(image, { minLength: 4, maxLength: NAMES.length }), async (images) => {
      await using folder = await scratchFolder();
      await writeImages(folder.path, images);
      for (const [index, { format }] of [...images.entries()].slice(-2)) {
        const path = join(folder.path, NAMES[index] ?? '');
        const expected = await byQemu(path, format);
        expect(await byUs(path, format)).toEqual(expected);
        if (expected && expected.length > 2) followed += 1;
      }
    }),
    { numRuns: 40 },
  );
  // The graphs are not all trivial.
  expect(followed).toBeGreaterThan(5);
}, 120_000);
