/** Another definition in a memory image: in place, or in a copy if it needs more room. */

import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { XEN_SAVE_MAGIC } from '../../../src/files/saved-domain.ts';
import { readMemoryImage, readTie, writeTie } from '../../../src/memory/image-file.ts';
import { redefineImage } from '../../../src/memory/redefine-image.ts';
import { recordSyncs } from '../../support/syncs.ts';

const XML = "<domain type='xen'><name>g</name></domain>";
const LONGER = XML.replace('</name>', '</name><title>longer than before</title>');
const STREAM = Buffer.concat([Buffer.alloc(3 << 20, 7), Buffer.alloc(1 << 20), Buffer.from('end')]);
const TIE = 'ab'.repeat(32);

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'redefine-'));
  path = join(folder, 'g.save');
  // As libvirtd writes it: no room behind the definition.
  const xml = Buffer.from(`${XML}\0`);
  const header = Buffer.alloc(64);
  header.write(XEN_SAVE_MAGIC, 'latin1');
  header.writeUInt32LE(2, 16);
  header.writeUInt32LE(xml.length, 20);
  writeFileSync(path, Buffer.concat([header, xml, STREAM]));
  chmodSync(path, 0o640);
});

afterEach(() => rmSync(folder, { recursive: true }));

/** What follows the definition. */
async function stream(): Promise<Buffer> {
  return readFileSync(path).subarray((await readMemoryImage(path)).streamOffset);
}

test('a definition that fits is replaced in place, durably', async () => {
  const { ino } = statSync(path);
  using recorded = await recordSyncs(async () => (await readMemoryImage(path)).domainXml);
  await redefineImage(path, XML.replace('>g<', '>h<'));
  expect(recorded.syncs).toEqual([{ path, seen: XML.replace('>g<', '>h<') }]);
  expect((await readMemoryImage(path)).domainXml).toContain('<name>h</name>');
  expect([statSync(path).ino, (await stream()).equals(STREAM)]).toEqual([ino, true]);
});

test('a longer one gets a copy, with room for the next, which takes the image’s place: mode, tie and memory stay', async () => {
  await writeTie(path, TIE);
  await redefineImage(path, LONGER);
  const image = await readMemoryImage(path);
  expect([image.domainXml, (await stream()).equals(STREAM), await readTie(path)]).toEqual([LONGER, true, TIE]);
  expect([statSync(path).mode & 0o777, readdirSync(folder)]).toEqual([0o640, ['g.save']]);
  const { ino } = statSync(path);
  await redefineImage(path, LONGER.replace('</title>', ' still</title>'));
  expect(statSync(path).ino).toBe(ino);
});

test('another file in the way of the copy stays, and so does the image', async () => {
  writeFileSync(`${path}.partial`, 'of somebody');
  await expect(redefineImage(path, LONGER)).rejects.toThrow(`'${path}.partial' is there; remove it`);
  expect([readFileSync(`${path}.partial`, 'utf8'), (await readMemoryImage(path)).domainXml]).toEqual([
    'of somebody',
    XML,
  ]);
});

test('what is not an image is not written to', async () => {
  writeFileSync(path, 'x'.repeat(200));
  await expect(redefineImage(path, LONGER)).rejects.toMatchObject({ code: 'INVALID_ARG' });
  expect(readFileSync(path, 'utf8')).toBe('x'.repeat(200));
});
