/**
 * Reads values of attributes and elements, accepting and refusing what libvirt's parser does (src/util/virxml.c,
 * virstring.c).
 */

import { type ErrorCode, LibvirtError } from '../../errors.ts';
import type { XmlElement } from '../../model/element.ts';

/** An error of libvirt's snapshot parser. */
export function refusal(code: ErrorCode, text: string): LibvirtError {
  return new LibvirtError(code, text, { domain: 'DOMAIN_SNAPSHOT' });
}

/** virXMLPropEnum: returns one of `values`, or undefined if the attribute is missing. Refuses an empty attribute. */
export function enumAttribute<T extends string>(
  element: XmlElement,
  name: string,
  values: readonly T[],
): T | undefined {
  const given = element.attributes[name];
  if (given === undefined) return undefined;
  const value = values.find((known) => known === given);
  if (value !== undefined) return value;
  throw refusal('XML_ERROR', `Invalid value for attribute '${name}' in element '${element.name}': '${given}'.`);
}

/** virXMLPropEnum with VIR_XML_PROP_REQUIRED: refuses a missing attribute, too. */
export function requiredEnumAttribute<T extends string>(element: XmlElement, name: string, values: readonly T[]): T {
  const value = enumAttribute(element, name, values);
  if (value === undefined) throw missingAttribute(element, name);
  return value;
}

/** The error for a missing attribute that is required. */
export function missingAttribute(element: XmlElement, name: string): LibvirtError {
  return refusal('XML_ERROR', `Missing required attribute '${name}' in element '${element.name}'`);
}

/** Returns those attributes of `names` that the element has, in the order of `names`. */
export function pickAttributes(element: XmlElement, ...names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = element.attributes[name];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

/** virStrToLong_ll: returns the number if strtoll would read all of the text and it fits into `bits`, else undefined. */
export function signedInteger(text: string, bits = 64): bigint | undefined {
  const value = decimal(text);
  return value === undefined || value !== BigInt.asIntN(bits, value) ? undefined : value;
}

/** virStrToLong_ullp: the same, without a minus sign. */
export function unsignedInteger(text: string, bits = 64): bigint | undefined {
  const value = text.includes('-') ? undefined : decimal(text);
  return value === undefined || value !== BigInt.asUintN(bits, value) ? undefined : value;
}

/**
 * Reads as strtoll does: white space, a sign, digits. Refuses more digits than 64 bits hold: BigInt is slow on long
 * texts.
 */
function decimal(text: string): bigint | undefined {
  const [, sign, digits] = /^[ \t\n\v\f\r]*([+-]?)0*(\d{1,20})$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return sign === '-' ? -BigInt(digits) : BigInt(digits);
}

const UNIT_LETTERS = 'kmgtpe';

/** virScaleInteger: returns bytes. `KiB` and `K` are 1024, `KB` is 1000; without a unit the factor is `withoutUnit`. */
function scaleInteger(value: bigint, unit: string, withoutUnit: bigint): bigint {
  const scale = unit === '' ? withoutUnit : unitBytes(unit);
  if (scale === undefined) throw refusal('INVALID_ARG', `unknown suffix '${unit}'`);
  const bytes = value * scale;
  if (bytes !== BigInt.asUintN(64, bytes)) throw refusal('OVERFLOW', `value too large: ${value}${unit}`);
  return bytes;
}

function unitBytes(unit: string): bigint | undefined {
  const lower = unit.toLowerCase();
  if (lower === 'b' || lower === 'byte' || lower === 'bytes') return 1n;
  const match = /^([kmgtpe])(ib|b)?$/.exec(lower);
  if (!match) return undefined;
  const power = BigInt(UNIT_LETTERS.indexOf(match[1] ?? '') + 1);
  return (match[2] === 'b' ? 1000n : 1024n) ** power;
}

/**
 * virDomainParseScaledValue: returns an element's number with its `unit` in bytes, or undefined if it is missing or
 * empty.
 */
export function scaledValue(text: string, unit: string, withoutUnit: bigint, where: string): bigint | undefined {
  if (text === '') return undefined;
  const value = unsignedInteger(text);
  if (value === undefined) throw refusal('XML_ERROR', `Invalid value '${text}' for element or attribute '${where}'`);
  return scaleInteger(value, unit, withoutUnit);
}

/**
 * virUUIDParse and virUUIDFormat: accepts white space around, dashes anywhere, any case. Returns undefined for other
 * text.
 */
export function canonicalUuid(text: string): string | undefined {
  const digits = text.trim().replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(digits)) return undefined;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
