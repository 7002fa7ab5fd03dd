/**
 * Writes XML byte for byte as libvirt does: two spaces of indent, single quotes, its escapes; `<metadata>` as libxml2
 * dumps it.
 */

import type { XmlElement } from '../../model/element.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  '"': '&quot;',
  "'": '&apos;',
  '\r': '&#13;',
};

/**
 * virBufferEscapeString: escapes five characters and leaves out control characters that XML does not allow. Line ends are
 * written as references, which libvirt does not do: a reader would make other characters of them.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones meant
const SPECIAL = /[<>&"'\x01-\x08\x0b-\x19]/g;

/** Returns a text as libvirt escapes it, so that it reads back the same. */
export function escapeXml(text: string): string {
  return text.replace(SPECIAL, (character) => ENTITIES[character] ?? '');
}

/** The same for an attribute's value, in which tabs and line feeds would be read as spaces. */
function escapeValue(text: string): string {
  return escapeXml(text).replace(/[\t\n]/g, (character) => DUMPED_VALUE[character] ?? '');
}

/** Elements that libvirt prints with both tags even if they are empty. */
export const NEVER_SELF_CLOSED: readonly string[] = ['devices', 'encryption'];

/** Returns the element on lines of its own, indented by `indent` spaces, ending in a line end. */
export function writeElement(element: XmlElement, indent = 0): string {
  if (element.name === 'metadata') return `${' '.repeat(indent)}${dump(element, indent, true)}\n`;
  const margin = ' '.repeat(indent);
  const start = `${margin}<${element.name}${attributesOf(element)}`;
  const end = `</${element.name}>\n`;
  if (hasText(element)) return `${start}>${contentOf(element)}${end}`;
  if (element.children.length === 0 && !NEVER_SELF_CLOSED.includes(element.name)) return `${start}/>\n`;
  const lines = element.children.map((child) => (typeof child === 'string' ? '' : writeElement(child, indent + 2)));
  return `${start}>\n${lines.join('')}${margin}${end}`;
}

function hasText(element: XmlElement): boolean {
  return element.children.some((child) => typeof child === 'string');
}

function attributesOf(element: XmlElement): string {
  return Object.entries(element.attributes)
    .map(([name, value]) => ` ${name}='${escapeValue(value)}'`)
    .join('');
}

/** Content that includes text is kept as it is, with its white space. */
function contentOf(element: XmlElement): string {
  return element.children
    .map((child) => (typeof child === 'string' ? escapeXml(child) : writeElement(child).trimEnd()))
    .join('');
}

const DUMPED_TEXT: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '\r': '&#13;' };
const DUMPED_VALUE: Readonly<Record<string, string>> = { ...DUMPED_TEXT, '"': '&quot;', '\n': '&#10;', '\t': '&#9;' };

/** Returns text as libxml2 escapes it. */
export const dumpText = (text: string): string =>
  text.replace(/[<>&\r]/g, (character) => DUMPED_TEXT[character] ?? character);

/** Returns an attribute's value as libxml2 writes it without a declared encoding: non-ASCII as references, unlike in text. */
export const dumpValue = (text: string): string =>
  text
    .replace(/[<>&\r"\n\t]/g, (character) => DUMPED_VALUE[character] ?? character)
    .replace(/[^\0-\x7f]/gu, (character) => `&#x${character.codePointAt(0)?.toString(16).toUpperCase()};`);

/** xmlNodeDump(…, format 1): namespaces before attributes, double quotes, no line breaks around text. */
function dump(element: XmlElement, indent: number, format: boolean): string {
  const attributes = Object.entries(element.attributes);
  const isNamespace = ([name]: readonly [string, string]): boolean => name === 'xmlns' || name.startsWith('xmlns:');
  const ordered = [...attributes.filter(isNamespace), ...attributes.filter((entry) => !isNamespace(entry))];
  const start = `<${element.name}${ordered.map(([name, value]) => ` ${name}="${dumpValue(value)}"`).join('')}`;
  if (element.children.length === 0) return `${start}/>`;
  const broken = format && !hasText(element);
  const before = broken ? `\n${' '.repeat(indent + 2)}` : '';
  const content = element.children
    .map((child) => (typeof child === 'string' ? dumpText(child) : before + dump(child, indent + 2, broken)))
    .join('');
  return `${start}>${content}${broken ? `\n${' '.repeat(indent)}` : ''}</${element.name}>`;
}
