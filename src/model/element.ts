/**
 * An XML element as plain data. Definitions of domains travel through the whole project in this form: read once, never
 * edited in place, written by one writer (src/xml/engine/write.ts). Names keep their prefix (`libosinfo:os`); attributes keep
 * their order; text is unescaped. Comments and processing instructions are dropped, as in libvirt.
 */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlNode[];
}

/** An element, or a text between elements. */
export type XmlNode = XmlElement | string;

/** Makes an element, without children by default. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string>> = {},
  children: readonly XmlNode[] = [],
): XmlElement {
  return { name, attributes, children };
}

/** Returns the child elements, or only those named `name`. */
export function childElements(parent: XmlElement, name?: string): readonly XmlElement[] {
  return parent.children.filter(
    (child): child is XmlElement => typeof child !== 'string' && (name === undefined || child.name === name),
  );
}

/** Returns the first child element along a path of names (`childAt(domain, 'os', 'type')`). */
export function childAt(parent: XmlElement, ...path: readonly string[]): XmlElement | undefined {
  let here: XmlElement | undefined = parent;
  for (const name of path) here = here && childElements(here, name)[0];
  return here;
}

/** Returns the element's string value, as XPath's `string()`: all text inside it. */
export function textOf(node: XmlElement): string {
  return node.children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('');
}

/**
 * Returns the string value of the element along a path, or undefined if it is missing or empty (libvirt treats both
 * alike).
 */
export function textAt(parent: XmlElement, ...path: readonly string[]): string | undefined {
  const found = childAt(parent, ...path);
  return (found && textOf(found)) || undefined;
}
