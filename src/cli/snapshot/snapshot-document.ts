/** Reads from a snapshot's document what virsh shows. */

import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';
import { parseXml } from '../../xml/engine/parse.ts';

/** The parts of a `<domainsnapshot>` that commands print. */
export interface SnapshotDocument {
  readonly name: string;
  readonly description?: string;
  readonly state: string;
  readonly parent?: string;
  /** Seconds since the epoch. */
  readonly creationTime: number;
  readonly location: 'internal' | 'external';
  readonly memory?: MemoryPart;
  readonly disks: readonly DiskPart[];
}

interface MemoryPart {
  readonly snapshot?: string;
  readonly file?: string;
}

interface DiskPart {
  readonly name: string;
  readonly snapshot?: string;
  readonly source?: string;
}

/** Reads any driver's document. Leaves out missing parts; refuses only malformed XML. */
export function readDocument(xml: string): SnapshotDocument {
  const root = parseXml(xml, 'domain_snapshot');
  const description = textAt(root, 'description');
  const parent = textAt(root, 'parent', 'name');
  const memory = childAt(root, 'memory')?.attributes;
  return {
    name: textAt(root, 'name') ?? '',
    ...(description !== undefined && { description }),
    state: textAt(root, 'state') ?? '',
    ...(parent !== undefined && { parent }),
    creationTime: Number(textAt(root, 'creationTime') ?? 0),
    location: isExternal(root) ? 'external' : 'internal',
    ...(memory && { memory }),
    disks: childElements(childAt(root, 'disks') ?? root, 'disk').map(diskPart),
  };
}

function diskPart(disk: XmlElement): DiskPart {
  const { name = '', snapshot } = disk.attributes;
  const { file, dev } = childAt(disk, 'source')?.attributes ?? {};
  const source = file ?? dev;
  return { name, ...(snapshot !== undefined && { snapshot }), ...(source !== undefined && { source }) };
}

/** Documents of libvirt before 1.0.1 have no `<memory>`; at that time only disk-only snapshots were external. */
function isExternal(root: XmlElement): boolean {
  const memory = childAt(root, 'memory');
  if (!memory) return textAt(root, 'state') === 'disk-snapshot';
  const disks = childElements(childAt(root, 'disks') ?? root, 'disk');
  return [memory, ...disks].some(({ attributes }) => attributes.snapshot === 'external');
}
