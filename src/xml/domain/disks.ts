/** The disks of a domain definition, in the order in which libvirt keeps them. */

import { type DomainDisk, SNAPSHOT_LOCATIONS, type SnapshotLocation, type StorageType } from '../../model/domain.ts';
import { childAt, childElements, type XmlElement } from '../../model/element.ts';

/**
 * By type of storage: the attribute of `<source>` that names the medium. Types that are not listed have no local path.
 */
const PATH_ATTRIBUTES: Readonly<Partial<Record<StorageType, string>>> = { file: 'file', block: 'dev', dir: 'dir' };

/** The bus that libvirt infers from a target's prefix if none is given (virDomainDiskDefPostParse). */
const PREFIX_BUSES: readonly (readonly [string, string])[] = [
  ['fd', 'fdc'],
  ['hd', 'ide'],
  ['sd', 'scsi'],
  ['vd', 'virtio'],
  ['xvd', 'xen'],
  ['ubd', 'uml'],
];

/** The elements that decide which bytes of an image are the disk's, and how they are read. */
const UNREADABLE: readonly (readonly string[])[] = [['encryption'], ['source', 'encryption'], ['source', 'slices']];

/** Returns the domain's disks in libvirt's order. */
export function domainDisks(domain: XmlElement): readonly DomainDisk[] {
  return orderedDiskElements(domain).map(readDisk);
}

/**
 * Returns the `<disk>` elements in the order in which libvirt keeps them (virDomainDiskInsert): each before the first
 * disk of its bus with a larger index, else after the last disk of its bus, else last.
 */
export function orderedDiskElements(domain: XmlElement): readonly XmlElement[] {
  const devices = childAt(domain, 'devices');
  const ordered: { readonly bus: string; readonly index: number; readonly disk: XmlElement }[] = [];
  for (const disk of devices ? childElements(devices, 'disk') : []) {
    const added = { bus: busOf(disk), index: diskIndex(targetOf(disk)), disk };
    const larger = ordered.findIndex(({ bus, index }) => bus === added.bus && index > added.index);
    const last = ordered.findLastIndex(({ bus }) => bus === added.bus);
    const place = larger !== -1 ? larger : last !== -1 ? last + 1 : ordered.length;
    ordered.splice(place, 0, added);
  }
  return ordered.map(({ disk }) => disk);
}

/** virDiskNameToIndex: `vda` 0, `vdz` 25, `vdaa` 26; ignores a partition's number; -1 for other names. */
export function diskIndex(target: string): number {
  const letters = /^(?:fd|hd|vd|sd|xvd|ubd)([a-z]*)\d*$/.exec(target)?.[1];
  if (letters === undefined) return -1;
  return [...letters].reduce((index, letter) => (index + 1) * 26 + letter.charCodeAt(0) - 97, -1);
}

/** The disk's name in the guest. */
export function targetOf(disk: XmlElement): string {
  return childAt(disk, 'target')?.attributes.dev ?? '';
}

/** The disk's bus, given or inferred. */
export function busOf(disk: XmlElement): string {
  const given = childAt(disk, 'target')?.attributes.bus;
  if (given !== undefined) return given;
  if (disk.attributes.device === 'floppy') return 'fdc';
  const target = targetOf(disk);
  return PREFIX_BUSES.find(([prefix]) => target.startsWith(prefix))?.[1] ?? 'ide';
}

/** True for a read-only disk; to libvirt every cdrom is one. */
export function isReadonly(disk: XmlElement): boolean {
  return disk.attributes.device === 'cdrom' || childAt(disk, 'readonly') !== undefined;
}

/** Returns what a `<disk>` element says. */
export function readDisk(disk: XmlElement): DomainDisk {
  const device = (disk.attributes.device ?? 'disk') as DomainDisk['device'];
  const type = (disk.attributes.type ?? 'file') as StorageType;
  const source = childAt(disk, 'source');
  const driver = childAt(disk, 'driver')?.attributes ?? {};
  const pathAttribute = PATH_ATTRIBUTES[type];
  const unreadable = UNREADABLE.filter((names) => childAt(disk, ...names)).map((names) => names.at(-1) ?? '');
  const backendDomain = childAt(disk, 'backenddomain')?.attributes.name;
  const { pool, volume } = source?.attributes ?? {};
  const path = (pathAttribute && source?.attributes[pathAttribute]) || undefined;
  return {
    target: targetOf(disk),
    bus: busOf(disk),
    device,
    type,
    ...(path !== undefined && { path }),
    ...(type === 'volume' && pool !== undefined && volume !== undefined && { volume: { pool, name: volume } }),
    hasSource: pathAttribute ? path !== undefined : source !== undefined,
    ...(driver.type !== undefined && { format: driver.type }),
    ...(driver.name !== undefined && { driver: driver.name }),
    ...((driver.discard === 'ignore' || driver.discard === 'unmap') && { discard: driver.discard }),
    ...(backendDomain !== undefined && { backendDomain }),
    ...(unreadable.length > 0 && { unreadable }),
    readonly: isReadonly(disk),
    shareable: childAt(disk, 'shareable') !== undefined,
    snapshot: snapshotOf(disk.attributes.snapshot, isReadonly(disk) || type === 'vhostuser'),
  };
}

function snapshotOf(given: string | undefined, impliedNo: boolean): SnapshotLocation {
  const known = SNAPSHOT_LOCATIONS.find((location) => location === given);
  return known ?? (impliedNo ? 'no' : 'default');
}
