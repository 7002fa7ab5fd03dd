/** XML as a reader sees it that shares no code with libxml2: fast-xml-parser. It serves as a witness, not as a check. */

import { XMLParser } from 'fast-xml-parser';
import type { XmlElement, XmlNode } from '../../../src/model/element.ts';

/** Nothing is trimmed, converted or renamed; character references are resolved. */
const PARSER = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  trimValues: false,
  parseTagValue: false,
  htmlEntities: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
});

/** fast-xml-parser's node: `{ [name]: children, ':@': attributes }`, or `{ '#text': text }`. */
type Parsed = Readonly<Record<string, unknown>>;

const TEXT = '#text';
const ATTRIBUTES = ':@';

/** Reads a document that is known to be well-formed. */
export function readWithSecondReader(document: string): XmlElement {
  const roots = (PARSER.parse(document) as readonly Parsed[]).filter((node) => !(TEXT in node));
  if (roots.length !== 1 || roots[0] === undefined) throw new Error(`${roots.length} root elements`);
  return elementOf(roots[0]);
}

function elementOf(node: Parsed): XmlElement {
  const name = Object.keys(node).find((key) => key !== ATTRIBUTES) as string;
  const children: XmlNode[] = [];
  for (const child of node[name] as readonly Parsed[]) {
    const text = child[TEXT];
    const last = children.at(-1);
    if (typeof text !== 'string') children.push(elementOf(child));
    else if (typeof last === 'string') children[children.length - 1] = last + text;
    else if (text !== '') children.push(text);
  }
  return { name, attributes: { ...(node[ATTRIBUTES] as XmlElement['attributes']) }, children };
}

/**
 * The tree without what readers may see differently: blanks next to elements, blanks alone in an element, and the order of
 * attributes.
 */
export function withoutBlanks({ name, attributes, children }: XmlElement): XmlElement {
  const kept = children.filter((child) => typeof child !== 'string' || child.trim() !== '');
  return {
    name,
    attributes: Object.fromEntries(Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    children: kept.map((child) => (typeof child === 'string' ? child : withoutBlanks(child))),
  };
}
