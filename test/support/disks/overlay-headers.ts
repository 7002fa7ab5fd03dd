/** Overlays whose headers name their backing images in any way: qemu-img itself refuses to write some of them. */

import { writeFile } from 'node:fs/promises';

const CLUSTER_BITS = 16;
const CLUSTER = 1 << CLUSTER_BITS;
const BACKING_FORMAT = 0xe2792aca;
const BYTES = 8 << 20;

interface Named {
  /** Written as it is. */
  readonly backing?: string | Buffer;
  readonly format?: string;
}

/** An empty qcow2 image of 8 MiB, as its header says; QEMU opens it. */
export async function writeOverlay(path: string, { backing, format }: Named): Promise<string> {
  const name = Buffer.from(backing ?? '');
  const extension = format === undefined ? Buffer.alloc(0) : extensionOf(BACKING_FORMAT, Buffer.from(format));
  const extensions = Buffer.concat([extension, Buffer.alloc(8)]);
  const header = Buffer.alloc(104);
  header.write('QFI\xfb', 'latin1');
  header.writeUInt32BE(3, 4);
  if (name.length > 0) header.writeBigUInt64BE(BigInt(104 + extensions.length), 8);
  header.writeUInt32BE(name.length, 16);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(BYTES), 24);
  header.writeUInt32BE(1, 36);
  header.writeBigUInt64BE(BigInt(3 * CLUSTER), 40);
  header.writeBigUInt64BE(BigInt(CLUSTER), 48);
  header.writeUInt32BE(1, 56);
  header.writeUInt32BE(4, 96);
  header.writeUInt32BE(104, 100);
  // One cluster each: the header, the refcount table, its one block, the level 1 table.
  const image = Buffer.alloc(4 * CLUSTER);
  Buffer.concat([header, extensions, name]).copy(image);
  image.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let cluster = 0; cluster < 4; cluster += 1) image.writeUInt16BE(1, 2 * CLUSTER + 2 * cluster);
  await writeFile(path, image);
  return path;
}

function extensionOf(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(type, 0);
  head.writeUInt32BE(data.length, 4);
  return Buffer.concat([head, data, Buffer.alloc(-data.length & 7)]);
}
