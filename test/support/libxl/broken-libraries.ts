/** Copies of the real libxenlight that cannot be used, each in its own way. The dynamic linker is the machine's. */

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The one of Debian 12, which scripts/setup.mjs installs. */
export const REAL_SONAME = 'libxenlight.so.4.17';

export type Fault = 'damaged' | 'without a dependency' | 'without its functions' | 'crashes while it is loaded';

/** Writes `<folder>/<soname>` with this fault, and returns its path. */
export async function brokenLibrary(folder: string, soname: string, fault: Fault): Promise<string> {
  const path = join(folder, soname);
  await writeFile(path, await contents(fault));
  return path;
}

async function contents(fault: Fault): Promise<Buffer> {
  const library = await readFile(await pathOf(REAL_SONAME));
  switch (fault) {
    case 'damaged':
      return library.subarray(0, 100);
    case 'without a dependency':
      // Names have the same length: the string table stays in order.
      return Buffer.from(library.toString('latin1').replaceAll('libxenctrl.so.4.17', 'libxenctrl.so.4.99'), 'latin1');
    case 'without its functions':
      return await readFile(await pathOf('libxentoollog.so.1'));
    case 'crashes while it is loaded':
      return withTrap(library);
  }
}

async function pathOf(soname: string): Promise<string> {
  const { stdout } = await promisify(execFile)('/sbin/ldconfig', ['-p']);
  const path = new RegExp(`^\\s*${soname.replaceAll('.', '\\.')} .*=> (.*)$`, 'm').exec(stdout)?.[1];
  if (!path) throw new Error(`${soname} is not installed`);
  return path;
}

/** elf(5). */
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_INIT = 12n;
const INT3 = 0xcc;

/** With a breakpoint in place of its _init: the dynamic linker runs into it, and the kernel sends SIGTRAP. */
function withTrap(library: Buffer): Buffer {
  const at = Number(library.readBigUInt64LE(32));
  const headers = Array.from({ length: library.readUInt16LE(56) }, (_, i) => at + i * library.readUInt16LE(54));
  const segment = (header: number) => ({
    type: library.readUInt32LE(header),
    offset: library.readBigUInt64LE(header + 8),
    address: library.readBigUInt64LE(header + 16),
    size: library.readBigUInt64LE(header + 32),
  });
  const segments = headers.map(segment);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  let entry = Number(dynamic?.offset);
  while (library.readBigUInt64LE(entry) !== DT_INIT) entry += 16;
  const init = library.readBigUInt64LE(entry + 8);
  const text = segments.find(({ type, address, size }) => type === PT_LOAD && init >= address && init < address + size);
  if (!text) throw new Error('the library has no _init');
  library[Number(init - text.address + text.offset)] = INT3;
  return library;
}
