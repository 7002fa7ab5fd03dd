/** Writes xl.snapshot.cfg(5) of a snapshot: what would take such a snapshot again. */

import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';
import { parseXml } from '../../xml/engine/parse.ts';
import { failure } from '../failure.ts';

/**
 * Returns the file for a snapshot's document. Leaves out disks that are not captured, as the file's meaning is. Refuses a
 * disk whose capture the file cannot describe.
 */
export function writeCfg(xml: string): string {
  const root = parseXml(xml, 'domain_snapshot');
  const description = textAt(root, 'description');
  const creationTime = textAt(root, 'creationTime');
  const memory = memoryOf(childAt(root, 'memory'));
  const disks = childElements(childAt(root, 'disks') ?? root, 'disk').flatMap(diskOf);
  return [
    `name = ${quoted(textAt(root, 'name') ?? '')}\n`,
    ...(description === undefined ? [] : [`description = ${quoted(description)}\n`]),
    ...(creationTime === undefined ? [] : [`creationtime = ${quoted(creationTime)}\n`]),
    ...(memory === undefined ? [] : [`memory = ${quoted(memory)}\n`]),
    `disks = [\n${disks.map((disk) => `    ${quoted(disk)},\n`).join('')}]\n`,
  ].join('');
}

function memoryOf(memory: XmlElement | undefined): string | undefined {
  const { snapshot, file } = memory?.attributes ?? {};
  if (snapshot === 'internal') return 'yes';
  return snapshot === 'external' ? file : undefined;
}

/** Keys instead of places: `target=` is the last, because it may contain commas. */
function diskOf(disk: XmlElement): string | [] {
  const { name = '', snapshot } = disk.attributes;
  const format = childAt(disk, 'driver')?.attributes.type;
  const { file, dev } = childAt(disk, 'source')?.attributes ?? {};
  const target = file ?? dev;
  const keys = [`vdev=${name}`, ...(format === undefined ? [] : [`format=${format}`])];
  if (snapshot === 'no' || snapshot === undefined) return [];
  if (snapshot === 'internal') return keys.join(',');
  if (snapshot === 'external' && target !== undefined) return [...keys, `target=${target}`].join(',');
  throw failure(`xl.snapshot.cfg cannot describe disk '${name}': its snapshot is ${snapshot}, without a path`);
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': 'n', '\r': 'r', '\t': 't' };

function quoted(text: string): string {
  return `"${text.replace(/[\\"\n\r\t]/g, (character) => `\\${ESCAPES[character] ?? character}`)}"`;
}
