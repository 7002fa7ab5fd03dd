/** The `<domainsnapshot>` that asks for a snapshot. */

import { element, type XmlElement } from '../model/element.ts';
import { writeElement } from '../xml/engine/write.ts';

/** A snapshot as it is asked for. */
export interface SnapshotSpec {
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly memory?: MemorySpec | undefined;
  readonly disks?: readonly DiskSpec[];
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
export function snapshotDocument({ name, description, memory, disks = [] }: SnapshotSpec): string {
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
