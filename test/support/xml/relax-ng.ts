/** Any element that one of libvirt's RELAX NG schemas allows: Debian's libvirt0 brings them along. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { childElements, element, textOf, type XmlElement, type XmlNode } from '../../../src/model/element.ts';
import { parseXml } from '../../../src/xml/engine/parse.ts';

const FOLDER = '/usr/share/libvirt/schemas';

/** What a pattern stands for: attributes and content of the element around it. */
interface Piece {
  readonly attributes: readonly (readonly [name: string, value: string])[];
  readonly children: readonly XmlNode[];
}

const NOTHING: Piece = { attributes: [], children: [] };
/** Elements inside each other; below that, only what must be there. Chains of <backingStore> have no other end. */
const DEPTH = 7;

export class Schema {
  readonly #defines = new Map<string, XmlElement[]>();
  readonly #text: fc.Arbitrary<string>;
  readonly #values: Readonly<Record<string, fc.Arbitrary<string>>>;
  readonly #known = new Map<string, fc.Arbitrary<Piece> | undefined>();

  /** `text` is used for every text without a pattern; `values` for the definitions of these names. */
  constructor(file: string, text: fc.Arbitrary<string>, values: Readonly<Record<string, fc.Arbitrary<string>>> = {}) {
    this.#text = text;
    this.#values = values;
    this.#load(file);
  }

  /** The elements that the definition of this name allows. */
  elements(name: string): fc.Arbitrary<readonly XmlElement[]> {
    const found = this.#define(name, 0);
    if (!found) throw new Error(`nothing is '${name}'`);
    return found.map(({ children }) => children.filter((child): child is XmlElement => typeof child !== 'string'));
  }

  #load(file: string): void {
    const grammar = parseXml(readFileSync(join(FOLDER, file), 'utf8'), 'domain_snapshot');
    for (const child of childElements(grammar)) {
      const { name = '', href = '' } = child.attributes;
      if (child.name === 'include') this.#load(href);
      if (child.name === 'define') this.#defines.set(name, [...(this.#defines.get(name) ?? []), child]);
    }
  }

  /** Undefined if nothing is allowed there. Several definitions of a name are a choice (`combine='choice'`). */
  #define(name: string, depth: number): fc.Arbitrary<Piece> | undefined {
    const value = this.#values[name];
    if (value) return value.map(textPiece);
    const key = `${depth} ${name}`;
    if (!this.#known.has(key)) {
      const all = (this.#defines.get(name) ?? []).map((define) => this.#all(define, depth));
      this.#known.set(key, anyOf(all));
    }
    return this.#known.get(key);
  }

  #all(parent: XmlElement, depth: number): fc.Arbitrary<Piece> | undefined {
    const parts = childElements(parent).map((child) => this.#pattern(child, depth));
    const there = parts.filter((part) => part !== undefined);
    return there.length === parts.length ? fc.tuple(...there).map(joined) : undefined;
  }

  #pattern(pattern: XmlElement, depth: number): fc.Arbitrary<Piece> | undefined {
    const { name = 'custom' } = pattern.attributes;
    const inside = () => this.#all(pattern, depth);
    switch (pattern.name) {
      case 'element':
        if (depth === DEPTH) return undefined;
        return this.#all(pattern, depth + 1)?.map(({ attributes, children }) => ({
          attributes: [],
          children: [element(name, Object.fromEntries(attributes), children)],
        }));
      case 'attribute':
        return (childElements(pattern).length === 0 ? this.#text.map(textPiece) : inside())?.map(({ children }) => ({
          attributes: [[name, children.join('')]],
          children: [],
        }));
      case 'ref':
        return this.#define(name, depth);
      case 'choice':
        return anyOf(childElements(pattern).map((child) => this.#pattern(child, depth)));
      case 'optional':
        return repeated(inside(), { maxLength: 1 });
      case 'zeroOrMore':
        return repeated(inside(), { maxLength: 2 });
      case 'oneOrMore':
        return inside() && repeated(inside(), { minLength: 1, maxLength: 2 });
      case 'text':
        return this.#text.map(textPiece);
      case 'value':
        return fc.constant(textPiece(textOf(pattern)));
      case 'data':
        return data(pattern, this.#text).map(textPiece);
      case 'notAllowed':
        return undefined;
      case 'empty':
      case 'anyName':
      case 'grammar':
        return fc.constant(NOTHING);
      default:
        return inside();
    }
  }
}

const textPiece = (text: string): Piece => ({ attributes: [], children: text === '' ? [] : [text] });

function joined(pieces: readonly Piece[]): Piece {
  return {
    attributes: pieces.flatMap(({ attributes }) => attributes),
    children: pieces.flatMap(({ children }) => children),
  };
}

function anyOf(parts: readonly (fc.Arbitrary<Piece> | undefined)[]): fc.Arbitrary<Piece> | undefined {
  const there = parts.filter((part) => part !== undefined);
  return there.length > 0 ? fc.oneof(...there) : undefined;
}

function repeated(
  part: fc.Arbitrary<Piece> | undefined,
  length: { minLength?: number; maxLength: number },
): fc.Arbitrary<Piece> {
  return part ? fc.array(part, length).map(joined) : fc.constant(NOTHING);
}

const matchers = new Map<string, fc.Arbitrary<string>>();

function matching(expression: string): fc.Arbitrary<string> {
  const known = matchers.get(expression) ?? fc.stringMatching(new RegExp(`^(?:${expression})$`));
  matchers.set(expression, known);
  return known;
}

/** A value of a type of XML Schema. Patterns of libvirt's are regular expressions here, too. */
function data(pattern: XmlElement, text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const facets = new Map(childElements(pattern, 'param').map((param) => [param.attributes.name, textOf(param)]));
  const expression = facets.get('pattern');
  if (expression !== undefined) return matching(expression);
  if (pattern.attributes.type === 'string') return text;
  const min = Number(facets.get('minInclusive') ?? 0);
  return fc.integer({ min, max: Math.min(Number(facets.get('maxInclusive') ?? min + 1000), min + 1000) }).map(String);
}
