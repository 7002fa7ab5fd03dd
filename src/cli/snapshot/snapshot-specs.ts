/**
 * The document that asks for a snapshot, and `--memspec` and `--diskspec` of snapshot-create-as
 * (virshParseSnapshotMemspec, …Diskspec).
 */

import { element, type XmlElement } from '../../model/element.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { failure } from '../failure.ts';

/** A snapshot as it is asked for. */
export interface SnapshotSpec {
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly memory: MemorySpec | undefined;
  readonly disks: readonly DiskSpec[];
}

/** What is asked of the memory; the daemon checks the values. */
export interface MemorySpec {
  readonly snapshot?: string | undefined;
  readonly file?: string | undefined;
}

/** What is asked of one disk; the daemon checks the values. */
export interface DiskSpec {
  readonly name: string;
  readonly snapshot?: string | undefined;
  /** Format of the overlay. */
  readonly driver?: string | undefined;
  readonly stype?: 'file' | 'block' | undefined;
  readonly file?: string | undefined;
}

/** Returns the `<domainsnapshot>` that requests such a snapshot. */
export function snapshotDocument({ name, description, memory, disks }: SnapshotSpec): string {
  const children = [
    ...(name === undefined ? [] : [element('name', {}, [name])]),
    ...(description === undefined ? [] : [element('description', {}, [description])]),
    ...(memory === undefined ? [] : [memoryElement(memory)]),
    ...(disks.length === 0 ? [] : [element('disks', {}, disks.map(diskElement))]),
  ];
  const content = children.map((child) => writeElement(child, 2)).join('');
  return `<domainsnapshot>\n${content}</domainsnapshot>\n`;
}

function memoryElement({ snapshot, file }: MemorySpec): XmlElement {
  return element('memory', { ...(snapshot !== undefined && { snapshot }), ...(file !== undefined && { file }) });
}

function diskElement({ name, snapshot, driver, stype, file }: DiskSpec): XmlElement {
  const attributes = { name, ...(snapshot !== undefined && { snapshot }), ...(stype !== undefined && { type: stype }) };
  return element('disk', attributes, [
    ...(driver === undefined ? [] : [element('driver', { type: driver })]),
    ...(file === undefined ? [] : [element('source', { [stype === 'block' ? 'dev' : 'file']: file })]),
  ]);
}

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
