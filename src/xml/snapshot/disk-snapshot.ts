/** Reads and writes one `<disk>` of a snapshot (virDomainSnapshotDiskDefParseXML and …Format in src/conf/snapshot_conf.c). */

import type { StorageType } from '../../model/domain.ts';
import { childAt, childElements, element, textOf, type XmlElement } from '../../model/element.ts';
import type { DiskSnapshot, DiskTarget } from '../../model/snapshot.ts';
import { enumAttribute, refusal, scaledValue } from '../engine/values.ts';
import { PATH_ATTRIBUTES, readDiskSource } from './disk-source.ts';

/** Values that a document may have for `snapshot=`. */
export const WRITTEN_LOCATIONS = ['no', 'internal', 'external', 'manual'] as const;

const WRITTEN_TYPES: readonly StorageType[] = ['file', 'block', 'dir', 'network', 'volume', 'nvme', 'vhostuser'];
const UNSUPPORTED_TYPES: readonly StorageType[] = ['dir', 'volume'];

/** The values of virStorageFileFormat that a document may name. */
const FORMATS = 'raw dir bochs cloop dmg iso vpc vdi fat vhd ploop cow qcow qcow2 qed vmdk'.split(' ');

/**
 * Reads the children of all `<disks>` or `<revertDisks>` (XPath `./disks/*`); like libvirt, takes every element for a disk,
 * whatever its name.
 */
export function readDiskSnapshots(
  snapshot: XmlElement,
  list: 'disks' | 'revertDisks',
  options: { redefine: boolean },
): readonly DiskSnapshot[] {
  const disks = childElements(snapshot, list).flatMap((parent) => childElements(parent));
  return disks.map((disk) => readDiskSnapshot(disk, options));
}

function readDiskSnapshot(disk: XmlElement, { redefine }: { redefine: boolean }): DiskSnapshot {
  const { name } = disk.attributes;
  if (name === undefined) throw refusal('INTERNAL_ERROR', 'missing name from disk snapshot element');
  const location = enumAttribute(disk, 'snapshot', WRITTEN_LOCATIONS);
  const type = enumAttribute(disk, 'type', WRITTEN_TYPES) ?? 'file';
  if (UNSUPPORTED_TYPES.includes(type)) throw refusal('XML_ERROR', `unsupported disk snapshot type '${type}'`);
  const target = readTarget(disk, type);
  const isNewLayer = target?.path !== undefined || target?.format !== undefined;
  return {
    name,
    location: location ?? (isNewLayer ? 'external' : 'default'),
    ...(target && { target }),
    ...(redefine && childAt(disk, 'snapshotDeleteInProgress') && { deleteInProgress: true as const }),
  };
}

function readTarget(disk: XmlElement, type: StorageType): DiskTarget | undefined {
  const found = childAt(disk, 'source');
  const { path, source } = found ? readDiskSource(type, found) : {};
  const format = childElements(disk, 'driver').find(({ attributes }) => attributes.type !== undefined)?.attributes.type;
  if (format && !FORMATS.includes(format)) {
    throw refusal('CONFIG_UNSUPPORTED', `unknown disk snapshot driver '${format}'`);
  }
  const metadataCacheMaxSize = readMetadataCache(disk);
  if (path !== undefined && type in PATH_ATTRIBUTES && !path.startsWith('/')) {
    throw refusal('XML_ERROR', `disk snapshot image path '${path}' must be absolute`);
  }
  if (path === undefined && !format && type === 'file') return undefined;
  return {
    type,
    ...(format && { format }),
    ...(metadataCacheMaxSize && { metadataCacheMaxSize }),
    ...(path !== undefined && { path }),
    ...(source && { source }),
  };
}

function readMetadataCache(disk: XmlElement): bigint | undefined {
  const size = childAt(disk, 'driver', 'metadata_cache', 'max_size');
  if (!size) return undefined;
  return scaledValue(textOf(size), size.attributes.unit ?? '', 1n, './driver/metadata_cache/max_size');
}

/** Returns the disk as libvirt prints it, which omits a target that has neither a path nor a format. */
export function diskSnapshotElement({ name, location, target, deleteInProgress }: DiskSnapshot): XmlElement {
  const shown = target && (target.path !== undefined || target.format !== undefined) ? target : undefined;
  return element(
    'disk',
    { name, ...(location !== 'default' && { snapshot: location }), ...(shown && { type: shown.type }) },
    [
      ...(deleteInProgress ? [element('snapshotDeleteInProgress')] : []),
      ...(shown ? [...driverElement(shown), ...sourceElement(shown)] : []),
    ],
  );
}

function driverElement({ format, metadataCacheMaxSize }: DiskTarget): readonly XmlElement[] {
  if (format === undefined && metadataCacheMaxSize === undefined) return [];
  const size = metadataCacheMaxSize && element('max_size', { unit: 'bytes' }, [String(metadataCacheMaxSize)]);
  const cache = size ? [element('metadata_cache', {}, [size])] : [];
  return [element('driver', format === undefined ? {} : { type: format }, cache)];
}

function sourceElement({ type, path, source }: DiskTarget): readonly XmlElement[] {
  const pathAttribute = PATH_ATTRIBUTES[type];
  const attributes = { ...(pathAttribute && path !== undefined && { [pathAttribute]: path }), ...source?.attributes };
  const children = source?.children ?? [];
  const says = children.length > 0 || Object.keys(attributes).length > 0;
  return says ? [element('source', attributes, children)] : [];
}
