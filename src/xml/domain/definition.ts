/** A domain's definition with the disks in it, and the same definition with other images or another name. */

import type { DiskImage } from '../../model/disk-image.ts';
import type { DiskOnVolume, DomainDefinition, DomainDisk } from '../../model/domain.ts';
import { childElements, element, type XmlElement, type XmlNode } from '../../model/element.ts';
import { pickAttributes } from '../engine/values.ts';
import { domainDisks } from './disks.ts';
import { parseDomain } from './domain.ts';

/** The definition whose document is `domain`. */
export function definitionOf(domain: XmlElement): DomainDefinition {
  const disks = domainDisks(domain);
  return { element: domain, disks, images: diskImages(disks), volumes: disksOnVolumes(disks) };
}

/** Reads a `<domain>` document. */
export function parseDefinition(text: string): DomainDefinition {
  return definitionOf(parseDomain(text));
}

/**
 * Returns, by target (`xvda`), the images of disks with a local file or block device, of all or of one kind of device. A
 * disk without a format or without a driver is raw, as in libxlMakeDisk.
 */
export function diskImages(disks: readonly DomainDisk[], only?: DomainDisk['device']): ReadonlyMap<string, DiskImage> {
  return new Map(
    disks.flatMap((disk) => {
      const { target, device, type, path } = disk;
      if (path === undefined || (only !== undefined && device !== only)) return [];
      const image = { path, format: imageFormat(disk) };
      return [[target, type === 'block' ? { ...image, block: true } : image] as const];
    }),
  );
}

/** The format as which the disk's image is opened. */
function imageFormat({ driver, format = 'raw' }: DomainDisk): string {
  return driver === undefined ? 'raw' : format;
}

function disksOnVolumes(disks: readonly DomainDisk[]): readonly DiskOnVolume[] {
  return disks.flatMap((disk) =>
    disk.volume ? [{ disk: disk.target, volume: disk.volume, format: imageFormat(disk) }] : [],
  );
}

/**
 * Returns the definition with other images for the disks named; a disk whose image does not change stays as it is. QEMU
 * serves a new image. Drops the old `<backingStore>`: libvirt finds the new chain by itself. Everything else that the
 * definition says of the disk stays.
 */
export function withDiskImages(
  { element: domain, images: now }: DomainDefinition,
  images: ReadonlyMap<string, DiskImage>,
): DomainDefinition {
  const devices = (found: XmlElement): XmlElement => mapChildren(found, 'disk', changed);
  const changed = (disk: XmlElement): XmlElement => {
    const target = childElements(disk, 'target')[0]?.attributes.dev ?? '';
    const image = images.get(target);
    const same = image && now.get(target)?.path === image.path && now.get(target)?.format === image.format;
    return image && !same ? withImage(disk, image) : disk;
  };
  return definitionOf(mapChildren(domain, 'devices', devices));
}

/** The same definition under another name. */
export function renamed(definition: DomainDefinition, name: string): DomainDefinition {
  const rename = (child: XmlElement): XmlElement => ({ ...child, children: [name] });
  return { ...definition, element: mapChildren(definition.element, 'name', rename) };
}

function withImage(disk: XmlElement, { path, format, block }: DiskImage): XmlElement {
  const [driver] = childElements(disk, 'driver');
  const [source] = childElements(disk, 'source');
  const attributes = source ? pickAttributes(source, 'startupPolicy') : {};
  const labels = source ? childElements(source, 'seclabel') : [];
  const others = disk.children.filter(
    (child) => typeof child === 'string' || !['driver', 'source', 'backingStore'].includes(child.name),
  );
  return {
    ...disk,
    attributes: { ...disk.attributes, type: block ? 'block' : 'file' },
    children: [
      element('driver', { ...driver?.attributes, name: 'qemu', type: format }, driver?.children),
      element('source', { [block ? 'dev' : 'file']: path, ...attributes }, labels),
      ...others,
    ],
  };
}

function mapChildren(parent: XmlElement, name: string, change: (child: XmlElement) => XmlElement): XmlElement {
  const children = parent.children.map(
    (child): XmlNode => (typeof child !== 'string' && child.name === name ? change(child) : child),
  );
  return { ...parent, children };
}
