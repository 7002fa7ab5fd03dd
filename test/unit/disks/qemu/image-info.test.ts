import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { diskContents } from '../../../../src/disks/qemu/disk-contents.ts';
import { aloneBytes, checkImage, imageInfo, imageSizes } from '../../../../src/disks/qemu/image-info.ts';
import { newImage, qemuImg, scratchFolder, writePattern } from '../../../support/hosts/embedded.ts';
import { refusal } from '../../../support/refusal.ts';

const MIB = 1 << 20;
let folder: Awaited<ReturnType<typeof scratchFolder>>;
const at = (name: string) => join(folder.path, name);
const qcow2 = (name: string) => ({ path: at(name), format: 'qcow2' });

beforeAll(async () => {
  folder = await scratchFolder();
  await newImage(at('a,b.qcow2'));
  await qemuImg('snapshot', '-c', 'empty', at('a,b.qcow2'));
  await writePattern(at('a,b.qcow2'), 'qcow2', 7);
  await qemuImg('snapshot', '-c', 'full', at('a,b.qcow2'));
  await writePattern(at('a,b.qcow2'), 'qcow2', 8);
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', at('a,b.qcow2'), '-F', 'qcow2', at('over'));
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

test('an image alone: its sizes, its snapshots', async () => {
  const info = await imageInfo(qcow2('a,b.qcow2'));
  expect(info).toMatchObject({
    virtualBytes: 8 * MIB,
    snapshots: [
      { id: '1', name: 'empty' },
      { id: '2', name: 'full', vmStateBytes: 0 },
    ],
  });
  expect(info.allocatedBytes).toBeGreaterThan(2 * MIB);
});

test('sizes are those of qemu-img, and no program is started for raw and qcow2', async () => {
  await writeFile(at('odd'), Buffer.alloc(70_001, 1));
  await qemuImg('create', '-q', '-f', 'vpc', at('vpc'), '4M');
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', `data_file=${at('data')}`, at('outside'), '4M');
  const images = [
    ...['a,b.qcow2', 'over', 'outside'].map(qcow2),
    ...['odd', 'a,b.qcow2'].map((name) => ({ path: at(name), format: 'raw' })),
    { path: at('vpc'), format: 'vpc' },
  ];
  const path = process.env.PATH;
  for (const image of images) {
    const { virtualBytes, allocatedBytes } = await imageInfo(image);
    const asks = image.format === 'vpc' || image.path === at('outside');
    process.env.PATH = asks ? path : '/nonexistent';
    const sizes = await imageSizes(image).finally(() => {
      process.env.PATH = path;
    });
    const { size } = await stat(image.path);
    expect({ image, ...sizes }).toEqual({ image, virtualBytes, allocatedBytes, fileBytes: size });
  }
  await expect(imageSizes(qcow2('odd'))).rejects.toThrow(/Image is not in qcow2 format/);
  await expect(imageSizes(qcow2('none'))).rejects.toThrow(`cannot read image '${at('none')}': No such file`);
});

describe('a check', () => {
  test('finds nothing in a sound image, and cannot be made of a raw one', async () => {
    expect(await checkImage(qcow2('a,b.qcow2'))).toEqual({ corruptions: 0, leaks: 0 });
    await writeFile(at('r'), Buffer.alloc(512));
    expect(await checkImage({ path: at('r'), format: 'raw' })).toBe('unsupported');
  });

  test('counts corruptions and leaks, and refuses what is no image', async () => {
    await writeFile(at('bad'), await readFile(at('a,b.qcow2')));
    await using file = await open(at('bad'), 'r+');
    // The refcount block is the third cluster of a new image: all counts become 0xffff.
    await file.write(Buffer.alloc(64, 0xff), 0, 64, 2 * 65536);
    const found = await checkImage(qcow2('bad'));
    expect(found).toMatchObject({ leaks: expect.any(Number) });
    expect(found === 'unsupported' || found.leaks + found.corruptions > 0).toBe(true);
    expect((await refusal(checkImage(qcow2('r')))).detail).toMatch(new RegExp(`^cannot check image '${at('r')}'`));
  });
});

test('an internal snapshot alone has a size that only its own contents count in', async () => {
  const image = await imageInfo(qcow2('a,b.qcow2'));
  const [empty, full] = await Promise.all(image.snapshots.map((snapshot) => aloneBytes(image, snapshot)));
  expect((full ?? 0) - (empty ?? 0)).toBe(MIB);
});

describe('contents', () => {
  async function digest(contents: AsyncIterable<Buffer>): Promise<string> {
    const hash = createHash('sha256');
    for await (const block of contents) hash.update(block);
    return hash.digest('hex');
  }

  async function expected(...args: readonly string[]): Promise<string> {
    await qemuImg('convert', '-O', 'raw', ...args, at('out'));
    return createHash('sha256')
      .update(await readFile(at('out')))
      .digest('hex');
  }

  test('of an image, of an internal snapshot and of a layer are what qemu-img would write', async () => {
    const raw = await expected(at('a,b.qcow2'));
    expect(await digest(diskContents(qcow2('a,b.qcow2')))).toBe(raw);
    expect(await digest(diskContents(qcow2('over')))).toBe(raw);
    expect(await digest(diskContents(qcow2('a,b.qcow2'), '2'))).toBe(
      await expected('-l', 'snapshot.id=2', at('a,b.qcow2')),
    );
    expect(await digest(diskContents(qcow2('a,b.qcow2'), '1'))).toBe(
      createHash('sha256')
        .update(Buffer.alloc(8 * MIB))
        .digest('hex'),
    );
  });

  test('come in order for a size that is no multiple of a block', async () => {
    const bytes = randomBytes(5 * MIB + 1536);
    await writeFile(at('odd'), bytes);
    const blocks: Buffer[] = [];
    for await (const block of diskContents({ path: at('odd'), format: 'raw' })) blocks.push(block);
    expect(Buffer.concat(blocks).equals(bytes)).toBe(true);
  });

  test('that cannot be read are refused with the image and the reason', async () => {
    expect((await refusal(digest(diskContents(qcow2('nothing'))))).detail).toMatch(
      new RegExp(`^cannot read the disk in image '${at('nothing')}': .*No such file`),
    );
    expect((await refusal(digest(diskContents(qcow2('a,b.qcow2'), '9')))).detail).toMatch(/snapshot/i);
  });

  test('need not be read to their end', async () => {
    for await (const block of diskContents(qcow2('a,b.qcow2'))) {
      expect(block).toHaveLength(2 * MIB);
      break;
    }
  });
});

test.each(['nbd,path=/tmp/s', 'raw,offset=512', 'nbd', 'a\nb'])(
  'a format %j is refused before QEMU sees it',
  async (format) => {
    const info = async () => await imageInfo({ path: '/nonexistent/image', format });
    await expect(info()).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: expect.stringContaining(`${JSON.stringify(format)}, the format of image '/nonexistent/image'`),
    });
  },
);
