/** Whatever two definitions say, comparing them ends in nothing or in a LibvirtError. */

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isLibvirtError, LibvirtError } from '../../src/errors.ts';
import { element, type XmlElement, type XmlNode } from '../../src/model/element.ts';
import { checkAbiStability } from '../../src/xml/abi/stability.ts';
import { readSnapshot } from '../../src/xml/snapshot/read.ts';
import { GUEST } from '../support/xml/abi-guest.ts';

const guest = readSnapshot(GUEST, { internal: false }).snapshot.domain?.element;
if (!guest) throw new Error('the guest is no definition');

const junk = fc.constantFrom(
  '',
  '-1',
  '0x10',
  'yes',
  '0-3,^2',
  '99999999999999999999',
  '-',
  'é',
  '__proto__',
  ',,',
  '1-',
);

/** The guest with some of its parts left out, twice there, or saying something else. */
const changed: fc.Arbitrary<XmlElement> = fc
  .tuple(fc.infiniteStream(fc.integer({ min: 0, max: 60 })), fc.infiniteStream(junk))
  .map(([dice, words]) => {
    const roll = (): number => dice.next().value;
    const word = (): string => words.next().value;
    const change = (found: XmlElement): XmlElement =>
      element(
        found.name,
        Object.fromEntries(
          Object.entries(found.attributes).flatMap(([name, value]) => {
            const face = roll();
            return face === 0 ? [] : [[name, face === 1 ? word() : value] as const];
          }),
        ),
        found.children.flatMap((child): readonly XmlNode[] => {
          const face = roll();
          if (face === 0) return [];
          if (typeof child === 'string') return [face === 1 ? word() : child];
          return face === 2 ? [change(child), change(child)] : [change(child)];
        }),
      );
    return change(guest);
  });

test('any two', () => {
  fc.assert(
    fc.property(changed, changed, (source, target) => {
      try {
        checkAbiStability(source, target);
      } catch (error) {
        expect(error).toBeInstanceOf(LibvirtError);
      }
    }),
    { numRuns: 500 },
  );
});

test('a definition is as stable as itself, unless it cannot be read', () => {
  fc.assert(
    fc.property(changed, (definition) => {
      try {
        checkAbiStability(definition, definition);
      } catch (error) {
        expect(isLibvirtError(error, 'CONFIG_UNSUPPORTED')).toBe(false);
      }
    }),
    { numRuns: 300 },
  );
});
