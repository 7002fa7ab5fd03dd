/** The `<domainsnapshot>` that asks for a snapshot with these parts. */

import { element, type XmlElement } from '../model/element.ts';
import { writeElement } from '../xml/engine/write.ts';
import type { SnapshotDisk, SnapshotParts } from './api.ts';

/** Returns the document, as virsh's snapshot-create-as writes it. The daemon checks the values. */
export function snapshotDocument({ name, description, memory, disks = [] }: SnapshotParts): string {
  const children = [
    ...(name === undefined ? [] : [element('name', {}, [name])]),
    ...(description === undefined ? [] : [element('description', {}, [description])]),
    ...(memory === undefined ? [] : [element('memory', present({ snapshot: memory.snapshot, file: memory.file }))]),
    ...(disks.length === 0 ? [] : [element('disks', {}, disks.map(diskElement))]),
  ];
  return `<domainsnapshot>\n${children.map((child) => writeElement(child, 2)).join('')}</domainsnapshot>\n`;
}

function diskElement({ name, snapshot, driver, stype, file }: SnapshotDisk): XmlElement {
  return element('disk', present({ name, snapshot, type: stype }), [
    ...(driver === undefined ? [] : [element('driver', { type: driver })]),
    ...(file === undefined ? [] : [element('source', { [stype === 'block' ? 'dev' : 'file']: file })]),
  ]);
}

/** The attributes that have a value. */
function present(attributes: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
