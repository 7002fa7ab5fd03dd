/** What is read from a domain's definition, and the few things that are changed in one. */

import { LibvirtError } from '../errors.ts';
import { childAt, textAt, type XmlElement, type XmlNode } from '../model/element.ts';
import { parseXml } from './parse.ts';

/** Reads a `<domain>` document. */
export function parseDomain(text: string): XmlElement {
  const domain = parseXml(text, 'domain_definition');
  if (domain.name !== 'domain') {
    throw refusal('XML_ERROR', `unexpected root element <${domain.name}>, expecting <domain>`);
  }
  return domain;
}

/** The domain's name; libvirt has no domain without. */
export function domainName(domain: XmlElement): string {
  const name = textAt(domain, 'name');
  if (name === undefined) throw refusal('INTERNAL_ERROR', 'Domain name is missing');
  return name;
}

/** The domain's UUID as libvirt writes it; libvirt's own definitions always have one. */
export function domainUuid(domain: XmlElement): string {
  const uuid = textAt(domain, 'uuid') ?? '';
  const digits = uuid.trim().replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) throw refusal('INTERNAL_ERROR', 'malformed uuid element');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Bytes in one of libvirt's units (virScaleInteger): binary with `iB` or a bare letter, decimal with `B`. */
const UNIT_LETTERS = 'kmgtpe';

/** `value` of `unit` in bytes; undefined where libvirt does not know the unit. */
export function scaleInteger(value: bigint, unit: string): bigint | undefined {
  const lower = unit.toLowerCase();
  if (lower === 'b' || lower === 'byte' || lower === 'bytes') return value;
  const match = /^([kmgtpe])(ib|b)?$/.exec(lower);
  if (!match) return undefined;
  const power = BigInt(UNIT_LETTERS.indexOf(match[1] ?? '') + 1);
  return value * (match[2] === 'b' ? 1000n : 1024n) ** power;
}

/** The memory the domain starts with at most, KiB, rounded up. */
export function domainMemoryKib(domain: XmlElement): number {
  const memory = childAt(domain, 'memory');
  const digits = textAt(domain, 'memory')?.trim() ?? '';
  const bytes = /^\d+$/.test(digits) ? scaleInteger(BigInt(digits), memory?.attributes.unit ?? 'KiB') : undefined;
  if (!bytes) {
    throw refusal('XML_ERROR', 'Memory size must be specified via <memory> or in the <numa> configuration');
  }
  return Number((bytes + 1023n) / 1024n);
}

/** The same definition under another name. */
export function renamed(domain: XmlElement, name: string): XmlElement {
  const rename = (child: XmlNode): XmlNode =>
    typeof child !== 'string' && child.name === 'name' ? { ...child, children: [name] } : child;
  return { ...domain, children: domain.children.map(rename) };
}

function refusal(code: 'XML_ERROR' | 'INTERNAL_ERROR', text: string): LibvirtError {
  return new LibvirtError(code, text, { domain: 'DOMAIN' });
}
