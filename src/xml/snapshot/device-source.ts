/**
 * Sources that are devices rather than images: NVMe namespaces and vhost-user sockets (virDomainDiskSourceNVMeParse,
 * …VHostUserParse).
 */

import { childAt, childElements, type XmlElement } from '../../model/element.ts';
import { enumAttribute, pickAttributes, refusal, unsignedInteger } from '../engine/values.ts';

interface DeviceSource {
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
}

const YES_NO = ['yes', 'no'] as const;

/** Reads `<source type='pci' namespace=…>` with the address of its controller. */
export function readNvmeSource(source: XmlElement): DeviceSource {
  const { type, namespace } = source.attributes;
  if (type === undefined) throw refusal('XML_ERROR', "missing 'type' attribute to disk source");
  if (type !== 'pci') throw refusal('XML_ERROR', `unsupported source type '${type}'`);
  if (namespace === undefined) throw refusal('XML_ERROR', "missing 'namespace' attribute to disk source");
  if (unsignedInteger(namespace) === undefined) throw refusal('XML_ERROR', `malformed namespace '${namespace}'`);
  enumAttribute(source, 'managed', YES_NO);
  const address = childAt(source, 'address');
  if (!address) throw refusal('XML_ERROR', 'NVMe disk source is missing address');
  for (const part of ['domain', 'bus', 'slot', 'function']) checkNumber(address, part);
  return { attributes: pickAttributes(source, 'type', 'managed', 'namespace'), children: [address] };
}

/** virXMLPropUInt: refuses an attribute that is not an unsigned number, decimal or hexadecimal. */
function checkNumber(address: XmlElement, name: string): void {
  const text = address.attributes[name];
  if (text === undefined || /^\s*\+?(0x[0-9a-f]+|\d+)$/i.test(text)) return;
  const problem = `Invalid value for attribute '${name}' in element 'address': '${text}'.`;
  throw refusal('XML_ERROR', `${problem} Expected non-negative integer value`);
}

/** Reads `<source type='unix' path=…>` with its `<reconnect>`. */
export function readVhostUserSource(source: XmlElement): DeviceSource {
  const { type, path } = source.attributes;
  if (type === undefined) throw refusal('XML_ERROR', "missing 'type' attribute for vhostuser disk source");
  if (type !== 'unix') throw refusal('XML_ERROR', "invalid 'type' attribute for vhostuser disk source");
  if (path === undefined) throw refusal('XML_ERROR', "missing 'path' attribute for vhostuser disk source");
  const reconnect = childElements(source, 'reconnect').slice(0, 1);
  for (const element of reconnect) enumAttribute(element, 'enabled', YES_NO);
  return { attributes: pickAttributes(source, 'type', 'path', 'mode'), children: reconnect };
}
