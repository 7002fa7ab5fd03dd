/** Headers and tables of files that others have made, with some bytes changed: what reads them refuses, or reads, and returns. */

import { type FileHandle, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readChain } from '../../../src/disks/chain/chains.ts';
import { revertRefusal } from '../../../src/disks/qemu/qcow2-refusals.ts';
import { hasBackingImage, readSnapshotTable } from '../../../src/disks/qemu/qcow2-table.ts';
import { isLibvirtError } from '../../../src/errors.ts';
import { readMemoryStream } from '../../../src/memory/embedded-stream.ts';
import { checkLibxlStream, encodeMemoryImageHeader, readMemoryImage, readTie } from '../../../src/memory/image-file.ts';
import { qemuImg } from '../hosts/embedded.ts';

type Random = (limit: number) => number;

const WORDS = [0, 1, 3, 8, 0x7f, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/** QEMU's header and its extensions; of the table, its first entries. */
const HEADER_BYTES = 512;
const TABLE_BYTES = 256;

/** A file, the places in it that are changed, and what reads it. */
interface Subject {
  readonly path: string;
  readonly places: readonly (readonly [start: number, bytes: number])[];
  read(): Promise<unknown>;
}

/** An image with a backing image, snapshots and a dirty bitmap. */
export async function qcow2Subject(folder: string): Promise<Subject> {
  const path = join(folder, 'image.qcow2');
  const base = join(folder, 'base.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', base, '64M');
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path);
  for (const name of ['s1', 's2', 's3']) await qemuImg('snapshot', '-c', name, path);
  await qemuImg('bitmap', '--add', path, 'b1');
  const table = Number((await readFile(path)).readBigUInt64BE(64));
  const read = async (): Promise<void> => {
    await readChain({ path, format: 'qcow2' });
    await hasBackingImage(path);
    for (const snapshot of (await readSnapshotTable(path, 'cannot read')).slice(0, 4))
      await revertRefusal(path, snapshot);
  };
  return {
    path,
    places: [
      [0, HEADER_BYTES],
      [table, TABLE_BYTES],
    ],
    read: async () => {
      await refusing(() => revertRefusal(path));
      await refusing(read);
    },
  };
}

/** A memory image of the embedded host. */
export async function memorySubject(folder: string): Promise<Subject> {
  const path = join(folder, 'memory.save');
  const header = encodeMemoryImageHeader("<domain type='xen'><name>vm</name></domain>");
  const stream = Buffer.from('xlsnap test RAM\n'.padEnd(100, '\0'), 'latin1');
  await using file = await open(path, 'w');
  await file.writeFile(Buffer.concat([header, stream]));
  return {
    path,
    places: [
      [0, 64],
      [header.length, stream.length],
    ],
    read: async () => {
      await refusing(async () => {
        const image = await readMemoryImage(path);
        await refusing(() => checkLibxlStream(image));
        await refusing(() => readMemoryStream(path, image.streamOffset));
      });
      await refusing(() => readTie(path));
    },
  };
}

/** Changes some bytes in the subject's places, has it read, and puts them back. */
export class Mutations implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #subject: Subject;
  readonly #whole: readonly Buffer[];

  private constructor(file: FileHandle, subject: Subject, whole: readonly Buffer[]) {
    this.#file = file;
    this.#subject = subject;
    this.#whole = whole;
  }

  static async of(subject: Subject): Promise<Mutations> {
    const file = await open(subject.path, 'r+');
    const contents = await readFile(subject.path);
    return new Mutations(
      file,
      subject,
      subject.places.map(([start, bytes]) => contents.subarray(start, start + bytes)),
    );
  }

  async next(random: Random): Promise<void> {
    const place = random(this.#whole.length);
    const bytes = Buffer.from(this.#whole[place] as Buffer);
    for (let times = 1 + random(6); times > 0; times -= 1) {
      if (random(2) === 0) bytes[random(bytes.length)] = random(256);
      else bytes.writeUInt32BE(WORDS[random(WORDS.length)] ?? 0, 4 * random(Math.trunc(bytes.length / 4)));
    }
    const [start] = this.#subject.places[place] as readonly [number, number];
    await this.#file.write(bytes, 0, bytes.length, start);
    try {
      await this.#subject.read();
    } finally {
      await this.#file.write(this.#whole[place] as Buffer, 0, bytes.length, start);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

async function refusing(read: () => Promise<unknown>): Promise<void> {
  await read().catch((error) => {
    if (!isLibvirtError(error)) throw error;
  });
}
