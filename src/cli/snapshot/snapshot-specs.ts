/** Reads `--memspec` and `--diskspec` of snapshot-create-as (virshParseSnapshotMemspec, …Diskspec). */

import type { DiskSpec, MemorySpec } from '../../client/snapshot-document.ts';
import { failure } from '../failure.ts';

/** Reads `[file=]name[,snapshot=type]`. Refuses a malformed one in virsh's words. */
export function readMemspec(memspec: string): MemorySpec {
  const parts = fields(memspec).map((field) => (field.startsWith('/') ? `file=${field}` : field));
  return keyed(parts, ['snapshot', 'file'], `unable to parse memspec: ${memspec}`);
}

/** Reads `disk[,snapshot=type][,driver=type][,stype=type][,file=name]`. Refuses a malformed one in virsh's words. */
export function readDiskspec(diskspec: string): DiskSpec {
  const [name, ...parts] = fields(diskspec);
  const refused = `unable to parse diskspec: ${diskspec}`;
  if (!name) throw failure(refused);
  const { stype, ...rest } = keyed(parts, ['snapshot', 'driver', 'stype', 'file'], refused);
  if (stype !== undefined && stype !== 'file' && stype !== 'block') {
    throw failure(`Unknown storage type: '${stype}'\nerror: ${refused}`);
  }
  return { name, ...rest, stype };
}

/** Splits at commas; a doubled comma is one that belongs to the value (vshStringToArray). */
function fields(spec: string): readonly string[] {
  return spec
    .replaceAll(',,', '\0')
    .split(',')
    .map((field) => field.replaceAll('\0', ','));
}

/** Accepts each key at most once. */
function keyed<K extends string>(
  parts: readonly string[],
  keys: readonly K[],
  refused: string,
): Readonly<Partial<Record<K, string>>> {
  const values: Partial<Record<K, string>> = {};
  for (const part of parts) {
    const key = keys.find((known) => part.startsWith(`${known}=`) && values[known] === undefined);
    if (!key) throw failure(refused);
    values[key] = part.slice(key.length + 1);
  }
  return values;
}
