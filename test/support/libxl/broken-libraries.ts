/** Copies of the real libxenlight that cannot be used, each in its own way. The dynamic linker is the machine's. */

import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the dynamic linker knows. */
const LIBRARIES = execFileSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });

/** The one of this system's Xen. */
export const REAL_SONAME = /libxenlight\.so\.4\.\d+/.exec(LIBRARIES)?.[0] ?? 'libxenlight is not installed';

/** A library that it needs, of the same version, and the name of one that is in no folder. */
const NEEDED = REAL_SONAME.replace('light', 'ctrl');
export const ABSENT_SONAME = 'libxenctrl.so.4.99';

export type Fault = 'damaged' | 'without a dependency' | 'without its functions' | 'crashes while it is loaded';

/** Writes `<folder>/<soname>` with this fault, and returns its path. */
export async function brokenLibrary(folder: string, soname: string, fault: Fault): Promise<string> {
  const path = join(folder, soname);
  await writeFile(path, await contents(fault));
  return path;
}

async function contents(fault: Fault): Promise<Buffer> {
  const library = await readFile(pathOf(REAL_SONAME));
  switch (fault) {
    case 'damaged':
      return library.subarray(0, 100);
    case 'without a dependency':
      // Names have the same length: the string table stays in order.
      return Buffer.from(library.toString('latin1').replaceAll(NEEDED, ABSENT_SONAME), 'latin1');
    case 'without its functions':
      return await readFile(pathOf('libxentoollog.so.1'));
    case 'crashes while it is loaded':
      return withTrap(library);
  }
}

function pathOf(soname: string): string {
  const path = new RegExp(`^\\s*${soname.replaceAll('.', '\\.')} .*=> (.*)$`, 'm').exec(LIBRARIES)?.[1];
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
