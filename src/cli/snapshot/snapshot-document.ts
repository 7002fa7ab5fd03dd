/** What virsh shows of a snapshot, read from the document that the daemon gives. */

import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';
import { parseXml } from '../../xml/engine/parse.ts';

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

/** Any driver's document: what is missing is left out, and nothing is refused but what is no XML. */
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

/** Documents of libvirt before 1.0.1 have no `<memory>`: then a snapshot of disks alone was the only external one. */
function isExternal(root: XmlElement): boolean {
  const memory = childAt(root, 'memory');
  if (!memory) return textAt(root, 'state') === 'disk-snapshot';
  const disks = childElements(childAt(root, 'disks') ?? root, 'disk');
  return [memory, ...disks].some(({ attributes }) => attributes.snapshot === 'external');
}
