/** Writes `<domainsnapshot>` byte for byte as libvirt prints and stores it (virDomainSnapshotDefFormat). */

import type { DomainDefinition } from '../../model/domain.ts';
import { element, type XmlElement } from '../../model/element.ts';
import type { DiskSnapshot, MemorySnapshot, SnapshotDef } from '../../model/snapshot.ts';
import { withoutSecrets } from '../domain/formats.ts';
import { writeElement } from '../engine/write.ts';
import { diskSnapshotElement } from './disk-snapshot.ts';

/** The form in which a document is written. */
export interface WriteOptions {
  /** Keeps passwords of the definitions. */
  readonly secure: boolean;
  /** Writes the stored form, which says whether the snapshot is the domain's current one. */
  readonly current?: boolean;
  /** The domain's UUID, for a snapshot that holds no definition. */
  readonly uuid?: string;
}

/** Returns the document, ending in a line end. */
export function writeSnapshot(snapshot: SnapshotDef, options: WriteOptions): string {
  const { name, description, state, parent, creationTime, disks, revertDisks } = snapshot;
  return writeElement(
    element('domainsnapshot', {}, [
      textElement('name', name),
      ...(description ? [textElement('description', description)] : []),
      textElement('state', state),
      ...(parent === undefined ? [] : [element('parent', {}, [textElement('name', parent)])]),
      ...(creationTime === 0n ? [] : [textElement('creationTime', String(creationTime))]),
      ...memoryElement(snapshot.memory),
      ...diskList('disks', disks),
      ...diskList('revertDisks', revertDisks),
      ...definitions(snapshot, options),
      ...(options.current === undefined ? [] : [textElement('active', options.current ? '1' : '0')]),
    ]),
  );
}

function textElement(name: string, text: string): XmlElement {
  return element(name, {}, [text]);
}

function memoryElement(memory: MemorySnapshot): readonly XmlElement[] {
  if (memory.location === 'default') return [];
  const file = memory.location === 'external' ? { file: memory.file } : {};
  return [element('memory', { snapshot: memory.location, ...file })];
}

function diskList(name: string, disks: readonly DiskSnapshot[]): readonly XmlElement[] {
  return disks.length === 0 ? [] : [element(name, {}, disks.map(diskSnapshotElement))];
}

function definitions({ domain, inactiveDomain }: SnapshotDef, { secure, uuid }: WriteOptions): readonly XmlElement[] {
  const shown = ({ element: definition }: DomainDefinition): XmlElement =>
    secure ? definition : withoutSecrets(definition);
  const uuidOnly = uuid === undefined ? [] : [element('domain', {}, [textElement('uuid', uuid)])];
  return [
    ...(domain ? [shown(domain)] : uuidOnly),
    ...(inactiveDomain ? [{ ...shown(inactiveDomain), name: 'inactiveDomain' }] : []),
  ];
}
