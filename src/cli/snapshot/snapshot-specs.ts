/**
 * `--memspec` and `--diskspec` of snapshot-create-as, and the document that they describe (virshParseSnapshotMemspec,
 * …Diskspec).
 */

import { element, type XmlElement } from '../../model/element.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { failure } from '../failure.ts';

interface SnapshotSpec {
  readonly name: string | undefined;
  readonly description: string | undefined;
  readonly memspec: string | undefined;
  readonly diskspecs: readonly string[];
}

/**
 * Returns the `<domainsnapshot>` that requests such a snapshot. Refuses a malformed spec in virsh's words; the daemon
 * checks the values.
 */
export function snapshotDocument({ name, description, memspec, diskspecs }: SnapshotSpec): string {
  const children = [
    ...(name === undefined ? [] : [element('name', {}, [name])]),
    ...(description === undefined ? [] : [element('description', {}, [description])]),
    ...(memspec === undefined ? [] : [memoryOf(memspec)]),
    ...(diskspecs.length === 0 ? [] : [element('disks', {}, diskspecs.map(diskOf))]),
  ];
  const content = children.map((child) => writeElement(child, 2)).join('');
  return `<domainsnapshot>\n${content}</domainsnapshot>\n`;
}

/** `[file=]name[,snapshot=type]`. */
function memoryOf(memspec: string): XmlElement {
  const parts = fields(memspec).map((field) => (field.startsWith('/') ? `file=${field}` : field));
  const { snapshot, file } = keyed(parts, ['snapshot', 'file'], `unable to parse memspec: ${memspec}`);
  return element('memory', { ...(snapshot !== undefined && { snapshot }), ...(file !== undefined && { file }) });
}

/** `disk[,snapshot=type][,driver=type][,stype=type][,file=name]`. */
function diskOf(diskspec: string): XmlElement {
  const [name, ...parts] = fields(diskspec);
  const refused = `unable to parse diskspec: ${diskspec}`;
  if (!name) throw failure(refused);
  const { snapshot, driver, stype, file } = keyed(parts, ['snapshot', 'driver', 'stype', 'file'], refused);
  if (stype !== undefined && stype !== 'file' && stype !== 'block') {
    throw failure(`Unknown storage type: '${stype}'\nerror: ${refused}`);
  }
  const attributes = { name, ...(snapshot !== undefined && { snapshot }), ...(stype !== undefined && { type: stype }) };
  return element('disk', attributes, [
    ...(driver === undefined ? [] : [element('driver', { type: driver })]),
    ...(file === undefined ? [] : [element('source', { [stype === 'block' ? 'dev' : 'file']: file })]),
  ]);
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
