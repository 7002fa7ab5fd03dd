/** Lists of CPUs as libvirt writes them (virBitmapParse, virBitmapFormat): `0-3,^2,7`. */

import { LibvirtError } from '../../errors.ts';

/** QEMU_GUEST_VCPU_MAX_ID. */
const CPUS = 4_096;

/** Reads a list. `^` takes out what was named before. */
export function parseCpuMap(text: string): ReadonlySet<number> {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',')) {
    const [, not = '', first = '', last = first] = /^\s*(\^?)(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(part) ?? [];
    const [from, to] = [Number(first), Number(last)];
    const isRange = first !== '' && from <= to && to < CPUS && (not === '' || first === last);
    if (!isRange) throw new LibvirtError('INVALID_ARG', `Failed to parse bitmap '${text}'`);
    for (let cpu = from; cpu <= to; cpu += 1) not === '' ? cpus.add(cpu) : cpus.delete(cpu);
  }
  return cpus;
}

/** Writes a list, with ranges. */
export function formatCpuMap(cpus: readonly number[]): string {
  const sorted = [...new Set(cpus)].toSorted((one, other) => one - other);
  const ranges: [number, number][] = [];
  for (const cpu of sorted) {
    const last = ranges.at(-1);
    if (last && last[1] === cpu - 1) last[1] = cpu;
    else ranges.push([cpu, cpu]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
