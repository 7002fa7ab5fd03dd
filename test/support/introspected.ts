/** What an introspection document says of an interface, whoever wrote it. */

import { childElements, type XmlElement } from '../../src/model/element.ts';
import { parseXml } from '../../src/xml/engine/parse.ts';

/** An interface's members with their arguments, without what is said of them in words; undefined where it is not there. */
export function introspected(document: string, interfaceName: string): Readonly<Record<string, unknown>> | undefined {
  const found = childElements(parsed(document), 'interface').find(
    ({ attributes }) => attributes.name === interfaceName,
  );
  if (!found) return undefined;
  return Object.fromEntries(
    childElements(found)
      .filter(({ name }) => name !== 'annotation')
      .map((member) => [`${member.name} ${member.attributes.name}`, typesOf(member)]),
  );
}

/** Names of the nodes right beneath. */
export function introspectedNodes(document: string): readonly string[] {
  return childElements(parsed(document), 'node').map(({ attributes }) => attributes.name ?? '');
}

function typesOf(member: XmlElement): unknown {
  if (member.name === 'property') return member.attributes.type;
  return childElements(member, 'arg').map(({ attributes: { name, type, direction = 'out' } }) => ({
    name,
    type,
    direction,
  }));
}

/** The parser of definitions takes any document without a DTD. */
const parsed = (document: string): XmlElement =>
  parseXml(document.replace(/<!DOCTYPE[^>]*>/, '').replace(/<!--.*?-->/s, ''), 'domain_definition');
