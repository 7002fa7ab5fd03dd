/**
 * From libxml2's tree to our own, by way of the text that libxml2 writes of it: asking it for one node after another costs
 * a call into WebAssembly each, ten times the parsing. What it writes is regular (double quotes, `>` only where a tag,
 * a comment or an instruction ends, no CDATA), so that little is left to read.
 */

import type { XmlElement as LibxmlElement } from 'libxml2-wasm';
import type { XmlElement, XmlNode } from '../../model/element.ts';
import { NEVER_SELF_CLOSED } from './write.ts';

/** The element and all beneath it, comments and instructions left out. */
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
  // Not piece by piece: a character may lie in two of them.
  return Buffer.concat(chunks).toString();
}

/** A tag, a comment or an instruction. Of a tag: the slash of an end, the name, and its attributes with the slash of an empty one. */
const MARKUP = /<(?:!--[\s\S]*?-->|\?[\s\S]*?\?>|(\/?)([^\s/>]+)([^>]*)>)/g;

/** An element whose end has not been read yet. */
interface Open {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlNode[];
  /** Within `<metadata>`, where blanks are content. */
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

/** Blanks alone in the elements that libvirt never closes at once are its way to print them empty. */
function closed({ name, attributes, children, verbatim }: Open): XmlElement {
  const isEmpty = !verbatim && NEVER_SELF_CLOSED.includes(name) && children.every(isBlank);
  return { name, attributes, children: isEmpty ? [] : children };
}

function isBlank(child: XmlNode): boolean {
  return typeof child === 'string' && child.trim() === '';
}

/** Neighbouring texts, once a comment between them is gone, are one. */
function addText(children: XmlNode[], text: string): void {
  const last = children.at(-1);
  if (typeof last === 'string') children[children.length - 1] = last + text;
  else children.push(text);
}

/** Attributes in their order, then the namespaces, which libxml2 writes first. */
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
