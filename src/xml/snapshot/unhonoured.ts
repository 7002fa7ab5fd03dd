/** Finds what a request says of a new overlay and nobody would carry out. libvirt's parser drops some of it silently. */

import { childElements, type XmlElement } from '../../model/element.ts';
import type { Unhonoured } from '../../model/snapshot.ts';

/** The parts of a source that a new overlay honours: its path and its format. QEMU serves it. */
const HONOURED: Readonly<Record<string, readonly string[]>> = {
  disk: ['@name', '@snapshot', '@type', 'driver', 'source'],
  driver: ['@name', '@type'],
  source: ['@file', '@dev', '@index'],
};

/** Types of targets that can be overlays; others are refused as a whole. */
const TYPES: readonly (string | undefined)[] = [undefined, 'file', 'block'];

/** Returns the first attribute or element that is not honoured, or undefined if all are. */
export function findUnhonoured(snapshot: XmlElement): Unhonoured | undefined {
  const disks = childElements(snapshot, 'disks').flatMap((parent) => childElements(parent));
  for (const disk of disks) {
    const { name = '', type, snapshot: location } = disk.attributes;
    if (location === 'no' || !TYPES.includes(type)) continue;
    const parts = [{ ...disk, name: 'disk' }, ...childElements(disk, 'driver'), ...childElements(disk, 'source')];
    const part = parts.map(unhonouredIn).find((found) => found !== undefined);
    if (part !== undefined) return { disk: name, part };
  }
  return undefined;
}

function unhonouredIn(element: XmlElement): string | undefined {
  const { attributes } = element;
  const honoured = HONOURED[element.name] ?? [];
  const isOther = (name: string): boolean => !honoured.includes(`@${name}`) || isOtherDriver(element, name);
  const attribute = Object.keys(attributes).find(isOther);
  if (attribute !== undefined) return `${attribute}='${attributes[attribute]}' in <${element.name}>`;
  const child = childElements(element).find(({ name }) => !honoured.includes(name));
  return child && `<${child.name}> in <${element.name}>`;
}

function isOtherDriver({ name, attributes }: XmlElement, attribute: string): boolean {
  return name === 'driver' && attribute === 'name' && attributes.name !== 'qemu';
}
