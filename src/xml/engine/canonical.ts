/**
 * Turns libxml2's tree into our own by reading the text that libxml2 serialises. Walking the tree would cost a call into
 * WebAssembly per node, ten times the parsing. The serialised text is regular (double quotes, `>` only at the end of a tag,
 * a comment or an instruction, no CDATA), so reading it is simple.
 */

import type { XmlElement as LibxmlElement } from 'libxml2-wasm';
import type { XmlElement, XmlNode } from '../../model/element.ts';
import { NEVER_SELF_CLOSED } from './write.ts';

/** Returns the element with all its descendants, without comments and processing instructions. */
export function takeOver(root: LibxmlElement): XmlElement {
  return readCanonical(serialise(root));
}

function serialise(root: LibxmlElement): string {
  const chunks: Buffer[] = [];
  const write = (bytes: Uint8Array): number => {
    chunks.push(Buffer.from(bytes));
    return bytes.length;
  };
  root.save({ write, close: () => true }, { format: false });
  // Decodes the chunks together: a character may be split between two of them.
  return Buffer.concat(chunks).toString();
}

/**
 * A tag, a comment or an instruction. For a tag, captures the slash of an end tag, the name, and the attributes with
 * the slash of an empty tag.
 */
const MARKUP = /<(?:!--[\s\S]*?-->|\?[\s\S]*?\?>|(\/?)([^\s/>]+)([^>]*)>)/g;

/** An element whose end tag has not been read yet. */
interface Open {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlNode[];
  /** True inside `<metadata>`, whose white space is content. */
  readonly verbatim: boolean;
}

function readCanonical(text: string): XmlElement {
  const document: Open = { name: '', attributes: {}, children: [], verbatim: false };
  const around = [document];
  let inner = document;
  let end = 0;
  for (const { 0: markup, 1: slash, 2: name, 3: rest = '', index } of text.matchAll(MARKUP)) {
    if (index > end) addText(inner.children, unescaped(text.slice(end, index)));
    end = index + markup.length;
    if (name === undefined) continue;
    if (slash) {
      around.pop();
      const outer = around.at(-1) ?? document;
      outer.children.push(closed(inner));
      inner = outer;
      continue;
    }
    const opened: Open = {
      name,
      attributes: attributesOf(rest),
      children: [],
      verbatim: inner.verbatim || name === 'metadata',
    };
    if (rest.endsWith('/')) {
      inner.children.push(closed(opened));
    } else {
      around.push(opened);
      inner = opened;
    }
  }
  return document.children[0] as XmlElement;
}

/** Drops white space in the elements that libvirt never self-closes: it prints them so if they are empty. */
function closed({ name, attributes, children, verbatim }: Open): XmlElement {
  const isEmpty = !verbatim && NEVER_SELF_CLOSED.includes(name) && children.every(isBlank);
  return { name, attributes, children: isEmpty ? [] : children };
}

function isBlank(child: XmlNode): boolean {
  return typeof child === 'string' && child.trim() === '';
}

/** Joins a text to the one before it: leaving out a comment makes them neighbours. */
function addText(children: XmlNode[], text: string): void {
  const last = children.at(-1);
  if (typeof last === 'string') children[children.length - 1] = last + text;
  else children.push(text);
}

/** Returns the attributes in their order, then the namespaces, which libxml2 writes first. */
function attributesOf(text: string): Readonly<Record<string, string>> {
  const attributes: Record<string, string> = {};
  const namespaces: Record<string, string> = {};
  for (let at = 1; at < text.length - 1; ) {
    const equals = text.indexOf('="', at);
    const end = text.indexOf('"', equals + 2);
    const name = text.slice(at, equals);
    const value = unescaped(text.slice(equals + 2, end));
    if (name === 'xmlns' || name.startsWith('xmlns:')) namespaces[name] = value;
    // An attribute may be called __proto__.
    else if (name in attributes) Object.defineProperty(attributes, name, { value, enumerable: true });
    else attributes[name] = value;
    at = end + 2;
  }
  return Object.assign(attributes, namespaces);
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"' };

function unescaped(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(
    /&(?:#(\d+)|(\w+));/g,
    (_, code?: string, name = '') => ENTITIES[name] ?? String.fromCodePoint(Number(code)),
  );
}
