/** Any tree of XML elements that libvirt's writer can print and a parser gives back. */

import fc from 'fast-check';
import { element, type XmlElement, type XmlNode } from '../../../src/model/element.ts';

/** What XML can hold and libvirt's escaping keeps: no control characters but line end and tab, no lone surrogates. */
export const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }).map(withoutControls) },
  // Text that looks like markup: read as markup if it is written without its escapes.
  fc.constantFrom('&amp;', '&lt;a/&gt;', '&#65;', ']]>', '<a>', '<!-- ', "'\"'"),
);

const name = fc.constantFrom('a', 'disk', 'source', 'x:y', 'devices', 'encryption', '_n-1.z');
/** libvirt leaves blanks of attributes as they are, and a parser then makes them blanks (XML 1.0 §3.3.3). */
const value = text.map((given) => given.replace(/[\t\n]/g, ' '));
const attributes = fc.dictionary(fc.constantFrom('b', 'c', 'type', 'dev'), value, {
  maxKeys: 3,
  noNullPrototype: true,
});

/** Blanks alone in these two are libvirt's way to print them empty. */
const hasBlankSection = ({ name: tag, children }: XmlElement): boolean =>
  (['devices', 'encryption'].includes(tag) && children.some((child) => typeof child === 'string' && !child.trim())) ||
  children.some((child) => typeof child !== 'string' && hasBlankSection(child));

/** Trees as parseXml gives them: text alone, or elements alone. */
export const trees: fc.Arbitrary<XmlElement> = fc
  .letrec<{ tree: XmlElement; children: readonly XmlNode[] }>((tie) => ({
    children: fc.oneof(
      { maxDepth: 4 },
      fc.constant([]),
      text.map((given) => (given === '' ? [] : [given])),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
    tree: fc.tuple(name, attributes, tie('children')).map(([tag, attrs, children]) => element(tag, attrs, children)),
  }))
  .tree.filter((tree) => !hasBlankSection(tree));

function withoutControls(value: string): string {
  return value.replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '');
}
