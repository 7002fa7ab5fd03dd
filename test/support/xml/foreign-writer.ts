/**
 * XML in another hand than libvirt's, by xmlbuilder2: double quotes, other indents and line ends, a declaration, CDATA
 * sections, comments, character references. Clients in Java, Go or Ruby write like that.
 */

import fc from 'fast-check';
import { create } from 'xmlbuilder2';
import type { XMLBuilder } from 'xmlbuilder2/lib/interfaces.d.ts';
import type { XmlElement } from '../../../src/model/element.ts';

/** How one document is written. */
export interface Hand {
  readonly indent: string | undefined;
  readonly newline: string;
  readonly declares: boolean;
  /** `<a></a>` in place of `<a/>`. */
  readonly closesEmpty: boolean;
  /** Taken one after the other, over and over: how the next text is written, and whether a comment follows it. */
  readonly texts: readonly ('plain' | 'cdata' | 'references')[];
  readonly comments: readonly boolean[];
}

export const hands: fc.Arbitrary<Hand> = fc.record({
  indent: fc.constantFrom(undefined, '', ' ', '\t', '        '),
  newline: fc.constantFrom('\n', '\r\n'),
  declares: fc.boolean(),
  closesEmpty: fc.boolean(),
  texts: fc.array(fc.constantFrom('plain', 'cdata', 'references'), { minLength: 1, maxLength: 5 }),
  comments: fc.array(fc.boolean(), { minLength: 1, maxLength: 5 }),
});

/** The document that this hand makes of the tree. */
export function writeInHand(tree: XmlElement, hand: Hand): string {
  const texts = repeating(hand.texts);
  const comments = repeating(hand.comments);

  const add = (parent: XMLBuilder, { name, attributes, children }: XmlElement): void => {
    const isNamespace = ([key]: readonly [string, string]): boolean => key.startsWith('xmlns');
    const pairs = Object.entries(attributes);
    const ordered = [...pairs.filter(isNamespace), ...pairs.filter((pair) => !isNamespace(pair)).toReversed()];
    const added = parent.ele(name, Object.fromEntries(ordered));
    for (const child of children) {
      if (typeof child !== 'string') add(added, child);
      else addText(added, child, texts());
      // Next to a text a comment would be content of its element, of which some readers take the first text alone.
      if (typeof child !== 'string' && comments()) added.com(' <name>not this</name> & ');
    }
  };

  const document = create(hand.declares ? { version: '1.0', encoding: 'UTF-8' } : {});
  add(document, tree);
  const text = document.end({
    headless: !hand.declares,
    allowEmptyTags: hand.closesEmpty,
    prettyPrint: hand.indent !== undefined,
    ...(hand.indent !== undefined && { indent: hand.indent, newline: hand.newline }),
  });
  return text.replaceAll(MARK, '&#x');
}

function addText(element: XMLBuilder, text: string, way: Hand['texts'][number]): void {
  if (way === 'plain') element.txt(text);
  else if (way === 'references') element.txt([...text].map(reference).join(''));
  // A section ends at the first `]]>`: the text goes on in the next.
  else for (const part of text.split(/(?<=\]\])(?=>)/)) element.dat(part);
}

/** xmlbuilder2 writes no references but the five named ones: this stands for `&#x` until the document is written. */
const MARK = '\u{f0000}';

const reference = (character: string): string => `${MARK}${character.codePointAt(0)?.toString(16)};`;

function repeating<T>(values: readonly T[]): () => T {
  let next = 0;
  return () => values[next++ % values.length] as T;
}
