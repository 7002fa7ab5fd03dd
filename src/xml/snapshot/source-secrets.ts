/**
 * Reads `<auth>` and `<encryption>` of a disk's source: references to secrets, never secrets themselves
 * (virStorageAuthDefParseXML, virStorageEncryptionParseNode).
 */

import { childAt, childElements, element, type XmlElement } from '../../model/element.ts';
import {
  canonicalUuid,
  enumAttribute,
  missingAttribute,
  pickAttributes,
  refusal,
  unsignedInteger,
} from '../engine/values.ts';

const AUTH_TYPES = ['none', 'chap', 'ceph'];
const ENCRYPTION_FORMATS = ['default', 'qcow', 'luks', 'luks2'];
const ENGINES = ['qemu', 'librbd'] as const;

/** Returns the normalised `<auth>`, or nothing if the source has none. */
export function readAuth(source: XmlElement): readonly XmlElement[] {
  const auth = childAt(source, 'auth');
  if (!auth) return [];
  const { username, type } = auth.attributes;
  if (!username) throw refusal('XML_ERROR', 'missing username for auth');
  if (type && !AUTH_TYPES.includes(type)) throw refusal('CONFIG_UNSUPPORTED', `unknown auth type '${type}'`);
  const secret = childAt(auth, 'secret');
  if (!secret) throw refusal('XML_ERROR', 'Missing <secret> element in auth');
  const attributes = { ...(type && type !== 'none' && { type }), username };
  return [
    element('auth', attributes, [element('secret', { ...pickAttributes(secret, 'type'), ...readLookup(secret) })]),
  ];
}

/** virSecretLookupParseSecret: reads the reference by `uuid` or by `usage`. */
function readLookup(secret: XmlElement): Readonly<Record<string, string>> {
  const { uuid, usage } = secret.attributes;
  if (uuid === undefined && usage === undefined) throw refusal('XML_ERROR', 'missing secret uuid or usage attribute');
  if (uuid === undefined) return pickAttributes(secret, 'usage');
  if (usage !== undefined) throw refusal('XML_ERROR', 'either secret uuid or usage expected');
  const canonical = canonicalUuid(uuid);
  if (canonical === undefined) throw refusal('XML_ERROR', `invalid secret uuid '${uuid}'`);
  return { uuid: canonical };
}

/** Returns the normalised `<encryption>`, or nothing if the source has none. */
export function readEncryption(source: XmlElement): readonly XmlElement[] {
  const encryption = childAt(source, 'encryption');
  if (!encryption) return [];
  const { format } = encryption.attributes;
  if (!format) throw refusal('XML_ERROR', 'unknown volume encryption format');
  if (!ENCRYPTION_FORMATS.includes(format)) {
    throw refusal('CONFIG_UNSUPPORTED', `unknown volume encryption format type ${format}`);
  }
  enumAttribute(encryption, 'engine', ENGINES);
  const secrets = childElements(encryption, 'secret').map(readPassphrase);
  const cipher = format === 'luks' ? readCipher(encryption) : [];
  return [element('encryption', pickAttributes(encryption, 'format', 'engine'), [...secrets, ...cipher])];
}

function readPassphrase(secret: XmlElement): XmlElement {
  const { type } = secret.attributes;
  if (type === undefined) throw refusal('XML_ERROR', 'unknown volume encryption secret type');
  if (type !== 'passphrase') {
    throw refusal('CONFIG_UNSUPPORTED', `unknown volume encryption secret type ${type}`);
  }
  return element('secret', { type, ...readLookup(secret) });
}

function readCipher(encryption: XmlElement): readonly XmlElement[] {
  const cipher = childAt(encryption, 'cipher');
  const ivgen = childAt(encryption, 'ivgen');
  if (!cipher) {
    if (ivgen) throw refusal('XML_ERROR', 'ivgen element found, but cipher is missing');
    return [];
  }
  const { name, size } = cipher.attributes;
  if (name === undefined) throw refusal('XML_ERROR', "cipher info missing 'name' attribute");
  if (size === undefined) throw missingAttribute(cipher, 'size');
  const bits = unsignedInteger(size, 32);
  if (bits === undefined) {
    throw refusal(
      'XML_ERROR',
      `Invalid value for attribute 'size' in element 'cipher': '${size}'. Expected non-negative integer value`,
    );
  }
  const normalised = element('cipher', { name, size: String(bits), ...pickAttributes(cipher, 'mode', 'hash') });
  if (!ivgen) return [normalised];
  if (ivgen.attributes.name === undefined) throw refusal('XML_ERROR', 'missing ivgen info name string');
  return [normalised, element('ivgen', pickAttributes(ivgen, 'name', 'hash'))];
}
