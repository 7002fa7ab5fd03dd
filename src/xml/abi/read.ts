/** The building blocks of the ABI tables (facts.ts, devices.ts): what is compared, and how it is read. */

import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';
import { scaledValue } from '../engine/values.ts';

/** A value to compare, as libvirt prints it. */
export type Read = (element: XmlElement) => string | undefined;

/** One value that must be the same. In libvirt's sentence `%t` is the target's value, `%s` the source's. */
export type Fact = readonly [sentence: string, read: Read];

/** Elements of which both definitions must have the same number, and that are compared in pairs by position. */
export interface Group {
  readonly members: (domain: XmlElement) => readonly XmlElement[];
  /** libvirt's sentence if the numbers differ. */
  readonly count: string;
  readonly facts: readonly Fact[];
  /** libvirt adds such elements by itself, so a target without any is accepted. */
  readonly implied?: true;
}

/** One line of a table. A function returns facts whose number depends on the definitions. */
export type Check = Fact | Group | ((source: XmlElement, target: XmlElement) => readonly Fact[]);

/**
 * Reads the value at a path of names under the element; the last may be `@attribute`. `missing`: what libvirt prints if
 * there is none.
 */
export function at(path: string, missing: string): (element: XmlElement) => string;
export function at(path: string): Read;
export function at(path: string, missing?: string): Read {
  const names = path.split('/');
  const attribute = names.at(-1)?.startsWith('@') ? names.pop()?.slice(1) : undefined;
  return (element) => {
    const value =
      attribute === undefined ? textAt(element, ...names) : childAt(element, ...names)?.attributes[attribute];
    return value ?? missing;
  };
}

/** Reads whether there is such an element. */
export const isThere =
  (...path: readonly string[]): Read =>
  (element) =>
    String(childAt(element, ...path) !== undefined);

/** Reads a value that only elements of one kind have: `onlyIf(at('@type'), 'usb', …)`. */
export const onlyIf =
  (kind: Read, value: string, read: Read): Read =>
  (element) =>
    kind(element) === value ? read(element) : undefined;

/** Returns all elements at the end of a path of names. */
export const members =
  (...path: readonly string[]): Group['members'] =>
  (domain) => {
    const parent = childAt(domain, ...path.slice(0, -1));
    return parent ? childElements(parent, path.at(-1)) : [];
  };

/** Reads a size in KiB, rounded up; without a unit the text is in KiB. */
export const kib =
  (path: string, missing: Read = () => '0'): Read =>
  (element) => {
    const bytes = scaledValue(at(path, '')(element), at(`${path}/@unit`, '')(element), 1024n, `./${path}[1]`);
    return bytes === undefined ? missing(element) : String((bytes + 1023n) / 1024n);
  };

/** Returns a set of numbers as libvirt prints one, `0-3,6`: sorted, with neighbours joined. */
export function ranges(text: string): string {
  const parts = text.split(',').map((part) => part.split('-').map(Number));
  const merged: [first: number, last: number][] = [];
  for (const [first = Number.NaN, last = first] of parts.toSorted(([one = 0], [other = 0]) => one - other)) {
    const before = merged.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else merged.push([first, last]);
  }
  return merged.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join();
}
