/**
 * Reads, checks and normalises a disk's `<source>` as libvirt does (virDomainStorageSourceParse in
 * src/conf/domain_conf.c).
 */

import type { StorageType } from '../../model/domain.ts';
import { childAt, childElements, element, textAt, type XmlElement } from '../../model/element.ts';
import { enumAttribute, pickAttributes, refusal, requiredEnumAttribute, unsignedInteger } from '../engine/values.ts';
import { readNvmeSource, readVhostUserSource } from './device-source.ts';
import { readNetworkSource } from './network-source.ts';
import { readAuth, readEncryption } from './source-secrets.ts';

/** A source's path, and the normalised element if it holds more than that. */
interface DiskSource {
  readonly path?: string;
  readonly source?: XmlElement;
}

/** By type of storage: the attribute that holds the path of a local source. */
export const PATH_ATTRIBUTES: Readonly<Partial<Record<StorageType, string>>> = { file: 'file', block: 'dev' };

const YES_NO = ['yes', 'no'] as const;

/** Reads a `<source>` of a type that snapshots support. */
export function readDiskSource(type: StorageType, source: XmlElement): DiskSource {
  const own = readOwn(type, source);
  const auth = readAuth(source);
  const encryption = readEncryption(source);
  const reservations = readReservations(source);
  const slices = readSlices(source);
  const labels = readLabels(source);
  const children = [
    ...own.children,
    ...slices,
    ...(type === 'network' ? [] : labels),
    ...auth,
    ...encryption,
    ...reservations,
  ];
  const says = children.length > 0 || Object.keys(own.attributes).length > 0;
  return {
    ...(own.path && { path: own.path }),
    ...(says && { source: element('source', own.attributes, children) }),
  };
}

interface OwnPart {
  readonly path?: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
}

function readOwn(type: StorageType, source: XmlElement): OwnPart {
  switch (type) {
    case 'network':
      return readNetworkSource(source);
    case 'nvme':
      return readNvmeSource(source);
    case 'vhostuser':
      return readVhostUserSource(source);
    default: {
      const path = source.attributes[PATH_ATTRIBUTES[type] ?? ''];
      return {
        ...(path && { path }),
        attributes: pickAttributes(source, ...(type === 'file' ? ['fdgroup'] : [])),
        children: [],
      };
    }
  }
}

/** virStoragePRDefParseXML */
function readReservations(source: XmlElement): readonly XmlElement[] {
  const reservations = childAt(source, 'reservations');
  if (!reservations) return [];
  const managed = requiredEnumAttribute(reservations, 'managed', YES_NO);
  const { type, path, mode } = childAt(reservations, 'source')?.attributes ?? {};
  if (managed === 'yes' && !type && !path && !mode) return [element('reservations', { managed })];
  if (!type) throw refusal('XML_ERROR', 'missing connection type for <reservations/>');
  if (!path) throw refusal('XML_ERROR', 'missing path for <reservations/>');
  if (!mode) throw refusal('XML_ERROR', 'missing connection mode for <reservations/>');
  if (type !== 'unix') throw refusal('XML_ERROR', `unsupported connection type for <reservations/>: ${type}`);
  if (mode !== 'client') throw refusal('XML_ERROR', `unsupported connection mode for <reservations/>: ${mode}`);
  return [element('reservations', { managed }, [element('source', { type, path, mode })])];
}

/** virDomainStorageSourceParseSlices: reads the first slice of type storage. */
function readSlices(source: XmlElement): readonly XmlElement[] {
  const slices = childElements(source, 'slices').flatMap((parent) => childElements(parent, 'slice'));
  const slice = slices.find(({ attributes }) => attributes.type === 'storage');
  if (!slice) return [];
  const { offset, size } = slice.attributes;
  if (!offset || !size) {
    throw refusal('XML_ERROR', 'missing offset or size attribute of slice');
  }
  const number = (name: string, text: string): string => {
    const value = unsignedInteger(text);
    if (value === undefined) throw refusal('XML_ERROR', `malformed value '${text}' of '${name}' attribute of slice`);
    return String(value);
  };
  const attributes = { type: 'storage', offset: number('offset', offset), size: number('size', size) };
  return [element('slices', {}, [element('slice', attributes)])];
}

/** virSecurityDeviceLabelDefParseXML */
function readLabels(source: XmlElement): readonly XmlElement[] {
  const models = new Set<string>();
  return childElements(source, 'seclabel').map((seclabel) => {
    const { model } = seclabel.attributes;
    if (model !== undefined && models.has(model)) {
      throw refusal('XML_DETAIL', `seclabel for model ${model} is already provided`);
    }
    if (model !== undefined) models.add(model);
    const relabel = enumAttribute(seclabel, 'relabel', YES_NO) ?? 'yes';
    const skip = enumAttribute(seclabel, 'labelskip', YES_NO) === 'yes';
    const label = textAt(seclabel, 'label');
    if (label !== undefined && relabel === 'no') {
      const shown = model ?? '<null>';
      throw refusal('XML_ERROR', `Cannot specify a label if relabelling is turned off. model=${shown}`);
    }
    return element(
      'seclabel',
      { ...(model !== undefined && { model }), ...(skip ? { labelskip: 'yes' } : { relabel }) },
      label === undefined ? [] : [element('label', {}, [label])],
    );
  });
}
