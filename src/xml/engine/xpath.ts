/** Selects parts of a document by XPath and writes them as libxml2 does, for virsh's `--xpath`. */

import { XmlAttribute, type XmlDocument, XmlElement, XmlError, type XmlNode } from 'libxml2-wasm';
import { LibvirtError } from '../../errors.ts';
import { type DocumentKind, withDocument } from './parse.ts';
import { dumpText, dumpValue } from './write.ts';

/**
 * Returns the text of every node that `xpath` finds or, with `wrap`, one element `<nodes>` around them. Refuses an
 * expression that yields no node set.
 */
export function selectXml(
  xml: string,
  what: DocumentKind,
  xpath: string,
  { wrap }: { readonly wrap: boolean },
): readonly string[] {
  return withDocument(xml, what, (document) => {
    const found = evaluate(document, xpath);
    return wrap ? [wrapped(found, what)] : found.map((node) => textOf(document, node, true));
  });
}

function evaluate(document: XmlDocument, xpath: string): readonly XmlNode[] {
  let found: unknown;
  try {
    found = document.eval(xpath);
  } catch (error) {
    if (error instanceof XmlError) throw incorrect(xpath, error);
    throw error;
  }
  if (!Array.isArray(found)) throw incorrect(xpath);
  return found;
}

function incorrect(xpath: string, cause?: unknown): LibvirtError {
  return new LibvirtError('INTERNAL_ERROR', `Incorrect xpath '${xpath}'`, { domain: 'XML', cause });
}

function textOf(document: XmlDocument, node: XmlNode, format: boolean): string {
  if (node instanceof XmlElement) return node.toString({ format });
  if (node instanceof XmlAttribute) return attributeOf(node);
  return node.parent
    ? dumpText(node.content)
    : `<?xml version="1.0" encoding="UTF-8"?>\n${document.root.toString({ format })}\n`;
}

function attributeOf({ prefix, name, value }: XmlAttribute): string {
  return ` ${prefix && `${prefix}:`}${name}="${dumpValue(value)}"`;
}

/**
 * Parses the joined nodes again, so that they are indented as one. Attributes become those of `<nodes>`; of one name
 * the last counts.
 */
function wrapped(found: readonly XmlNode[], what: DocumentKind): string {
  const attributes = new Map<string, string>();
  const children: string[] = [];
  for (const node of found) {
    if (node instanceof XmlAttribute) {
      attributes.delete(node.name);
      attributes.set(node.name, attributeOf(node));
    } else {
      const element = node instanceof XmlElement || node.parent ? node : node.get('/*');
      if (element) children.push(textOf(node.doc, element, false));
    }
  }
  const text = `<nodes${[...attributes.values()].join('')}>${children.join('')}</nodes>`;
  return withDocument(text, what, ({ root }) => root.toString({ format: true }));
}
