import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { appendFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  checkLibxlStream,
  checkRoomFor,
  encodeMemoryImageHeader,
  readMemoryImage,
  readTie,
  rewriteDomainXml,
  writeTie,
} from '../../../src/memory/image-file.ts';
import { PartialMemoryImage } from '../../../src/memory/partial-image.ts';
import { recordSyncs } from '../../support/syncs.ts';

const SYNTHETIC = resolve(import.meta.dirname, '../../../../shared/corpus/synthetic/libxl-save-header.bin');
const XML = "<domain type='xen'><name>föhn</name></domain>";
const STREAM = Buffer.concat([
  Buffer.from('LibxlFmt\0\0\0\x02\0\0\0\0', 'latin1'),
  Buffer.alloc(100, 7),
  Buffer.alloc(8),
]);

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'memory-image-'));
  path = join(folder, 's1.save');
});

afterEach(() => rmSync(folder, { recursive: true }));

/** A valid image, changed by `edit`. */
function imageWith(edit: (image: Buffer) => Buffer): string {
  writeFileSync(path, edit(Buffer.concat([encodeMemoryImageHeader(XML), STREAM])));
  return path;
}

function withUInt32(offset: number, value: number): (image: Buffer) => Buffer {
  return (image) => {
    image.writeUInt32LE(value, offset);
    return image;
  };
}

describe('header', () => {
  test('is libvirt’s: magic, version 2, xmlLen with its NUL, 40 unused bytes, the XML', () => {
    const header = encodeMemoryImageHeader(XML);
    expect(header.toString('hex', 0, 16)).toBe('6c69627669 72742d786d6c 0a20 0020 0d'.replaceAll(' ', ''));
    expect(header.readUInt32LE(16)).toBe(2);
    expect(header.readUInt32LE(20)).toBe(header.length - 64);
    expect(header.subarray(24, 64).every((byte) => byte === 0)).toBe(true);
    expect(header.toString('utf8', 64, 64 + Buffer.byteLength(XML))).toBe(XML);
  });

  test.each([
    [0, 1],
    [49_151, 1],
    [49_152, 2],
    [65_536, 2],
    [200_000, 4],
  ])('XML of %i bytes is padded with NULs to %i times 64 KiB, with 16 KiB to spare', (bytes, boundaries) => {
    const header = encodeMemoryImageHeader('x'.repeat(bytes));
    expect(header.length).toBe(64 + boundaries * 65_536);
    expect(header.subarray(64 + bytes).every((byte) => byte === 0)).toBe(true);
  });

  test('the header that libvirt itself writes, without padding, is read', async () => {
    const image = await readMemoryImage(SYNTHETIC);
    expect(image.domainXml).toMatch(/^<domain type='xen' id='3'>.*<\/domain>\n$/s);
    expect(image.streamOffset).toBe(image.bytes);
    await expect(checkLibxlStream(image)).rejects.toThrow('no libxl stream of version 2');
  });
});

describe('writing', () => {
  test('the image has its name only when it is finished, and a mode for root alone', async () => {
    const partial = await PartialMemoryImage.create(path, XML);
    expect(readdirSync(folder)).toEqual(['s1.save.partial']);
    expect(statSync(partial.partialPath).mode & 0o777).toBe(0o600);
    await appendFile(partial.partialPath, STREAM);
    const size = await partial.finish();
    expect(readdirSync(folder)).toEqual(['s1.save']);
    const image = await readMemoryImage(path);
    expect(image).toEqual({ path, domainXml: XML, xmlOffset: 64, streamOffset: 64 + 65_536, bytes: size });
    expect(readFileSync(path).subarray(image.streamOffset)).toEqual(STREAM);
    await checkLibxlStream(image);
  });

  test('what an earlier attempt has left under the partial name is replaced', async () => {
    writeFileSync(`${path}.partial`, Buffer.alloc(200_000, 1), { mode: 0o644 });
    const partial = await PartialMemoryImage.create(path, XML);
    expect(statSync(partial.partialPath).size).toBe(64 + 65_536);
    expect(statSync(partial.partialPath).mode & 0o777).toBe(0o600);
    await partial.discard();
  });

  test('discarding removes the image, finished or not, and no other', async () => {
    writeFileSync(path, 'an older image');
    const unfinished = await PartialMemoryImage.create(path, XML);
    await unfinished.discard();
    expect(readFileSync(path, 'utf8')).toBe('an older image');
    expect(readdirSync(folder)).toEqual(['s1.save']);
    const finished = await PartialMemoryImage.create(path, XML);
    await finished.finish();
    await finished.discard();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a folder that is not there is an error that names the file', async () => {
    const nowhere = join(folder, 'missing', 's1.save');
    await expect(PartialMemoryImage.create(nowhere, XML)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: `Failed to create domain save file '${nowhere}': No such file or directory`,
    });
  });
});

describe('the definition is changed in place', () => {
  test.each([
    ['a longer one', `<domain>${'x'.repeat(60_000)}</domain>`],
    ['a shorter one', '<domain/>'],
    ['one that fills the room', 'y'.repeat(65_535)],
  ])('%s: the stream stays where it was', async (_, xml) => {
    imageWith((image) => image);
    await rewriteDomainXml(path, xml);
    const image = await readMemoryImage(path);
    expect(image).toEqual({
      path,
      domainXml: xml,
      xmlOffset: 64,
      streamOffset: 64 + 65_536,
      bytes: 64 + 65_536 + STREAM.length,
    });
    await checkLibxlStream(image);
    await rewriteDomainXml(path, XML);
    expect((await readMemoryImage(path)).domainXml).toBe(XML);
  });

  test('one that does not fit is refused with the room there is, and nothing is changed', async () => {
    imageWith((image) => image);
    const before = readFileSync(path);
    const text = `the definition does not fit into memory image '${path}': it has 65536 bytes, and there is room for 65535`;
    const refused = { code: 'OPERATION_FAILED', detail: text };
    await expect(rewriteDomainXml(path, 'z'.repeat(65_536))).rejects.toMatchObject(refused);
    const image = await readMemoryImage(path);
    expect(() => checkRoomFor(image, 'z'.repeat(65_536))).toThrow(text);
    expect(readFileSync(path)).toEqual(before);
  });

  test('in an image without padding, as libvirt writes it, there is room for what was there', async () => {
    const header = readFileSync(SYNTHETIC);
    writeFileSync(path, Buffer.concat([header, STREAM]));
    const { domainXml } = await readMemoryImage(path);
    await rewriteDomainXml(path, domainXml.replace('<domain', '<DOMAIN'));
    await checkLibxlStream(await readMemoryImage(path));
    await expect(rewriteDomainXml(path, `${domainXml}x`)).rejects.toThrow('does not fit');
  });
});

describe('the tie to the disks', () => {
  const tie = 'ab'.repeat(32);

  test('S13: of another version is refused, not taken for none', async () => {
    imageWith((image) => {
      image.write('tie2', 24, 'latin1');
      return image;
    });
    await expect(readTie(path)).rejects.toThrow(
      `memory image '${path}' was tied to its disks by another version of xlsnap`,
    );
  });

  test('is in the finished image, in bytes that libvirt does not look at', async () => {
    const partial = await PartialMemoryImage.create(path, XML);
    await appendFile(partial.partialPath, STREAM);
    await partial.finish(tie);
    expect(await readTie(path)).toBe(tie);
    expect(readFileSync(path).subarray(24, 64).toString('hex')).toBe(
      `${Buffer.from('tie1').toString('hex')}${tie}00000000`,
    );
    expect((await readMemoryImage(path)).domainXml).toBe(XML);
  });

  test('can be written anew, and stays when the definition changes', async () => {
    imageWith((image) => image);
    expect(await readTie(path)).toBeUndefined();
    await writeTie(path, tie);
    await rewriteDomainXml(path, '<domain/>');
    expect(await readTie(path)).toBe(tie);
    await checkLibxlStream(await readMemoryImage(path));
  });

  test('is on stable storage, with all else, before the image has its name, and then the name is', async () => {
    const image = await PartialMemoryImage.create(path, XML);
    const other = 'cd'.repeat(32);
    const tieNow = () => readTie(existsSync(path) ? path : image.partialPath);
    using recorded = await recordSyncs(tieNow);
    await image.finish(tie);
    await writeTie(path, other);
    await rewriteDomainXml(path, XML);
    expect(recorded.syncs).toEqual([
      { path: `${path}.partial`, seen: tie },
      { path: folder, seen: tie },
      { path, seen: other },
      { path, seen: other },
    ]);
  });

  test('is not written into a file that is no image', async () => {
    writeFileSync(path, 'x'.repeat(1000));
    await expect(writeTie(path, tie)).rejects.toThrow('image magic is incorrect');
    expect(readFileSync(path, 'utf8')).toBe('x'.repeat(1000));
  });
});

describe('refused with libvirt’s words', () => {
  test.each([
    [
      'cut inside the header',
      (image: Buffer) => image.subarray(0, 63),
      'OPERATION_FAILED',
      'failed to read libxl header',
    ],
    ['an empty file', () => Buffer.alloc(0), 'OPERATION_FAILED', 'failed to read libxl header'],
    ['another magic', withUInt32(0, 0x20202020), 'INVALID_ARG', 'image magic is incorrect'],
    ['a newer version', withUInt32(16, 3), 'OPERATION_FAILED', 'image version is not supported (3 > 2)'],
    ['no XML', withUInt32(20, 0), 'OPERATION_FAILED', 'invalid XML length: 0'],
    ['a huge xmlLen', withUInt32(20, 0xffff_fff0), 'OPERATION_FAILED', 'invalid XML length: 4294967280'],
    ['cut inside the XML', (image: Buffer) => image.subarray(0, 1000), 'OPERATION_FAILED', 'failed to read XML'],
  ] as const)('%s', async (_, edit, code, text) => {
    const error = await readMemoryImage(imageWith(edit)).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code, detail: `${text}: ${path}` });
  });

  test('a file that is not there', async () => {
    await expect(readMemoryImage(path)).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      detail: `Failed to open domain image file '${path}': No such file or directory`,
    });
  });
});

describe('the libxl stream', () => {
  const streamOffset = 64 + 65_536;

  test.each([
    ['another ident', (image: Buffer) => image.fill(0, streamOffset, streamOffset + 4), 'no libxl stream of version 2'],
    [
      'another version',
      (image: Buffer) => image.fill(1, streamOffset + 11, streamOffset + 12),
      'no libxl stream of version 2',
    ],
    ['no stream', (image: Buffer) => image.subarray(0, streamOffset), 'no libxl stream of version 2'],
    ['a stream cut short', (image: Buffer) => image.subarray(0, streamOffset + 60), 'has no end'],
  ] as const)('%s is refused, naming the file', async (_, edit, text) => {
    const image = await readMemoryImage(imageWith(edit));
    const error = await checkLibxlStream(image).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPERATION_FAILED' });
    expect((error as Error).message).toContain(text);
    expect((error as Error).message).toContain(path);
  });
});
