import { describe, expect, test } from '@jest/globals';
import { asLibvirtError } from '../../../../src/errors.ts';
import type { XmlElement } from '../../../../src/model/element.ts';
import { checkAbiStability } from '../../../../src/xml/abi/stability.ts';
import { readSnapshot } from '../../../../src/xml/snapshot/read.ts';
import { MISPRINTS, REFUSED, TAKEN } from '../../../support/xml/abi-changes.ts';
import { DOMAIN, GUEST } from '../../../support/xml/abi-guest.ts';
import { inCommonWords } from '../../../support/xml/libvirt-words.ts';
import { virshRedefinitions } from '../../../support/xml/virsh-document.ts';

const changed = (text: string, [from, to]: readonly [string | RegExp, string]): string => {
  const result = text.replace(from, to);
  if (result === text) throw new Error(`nothing to change: ${from}`);
  return result;
};

function definitionOf(document: string): XmlElement {
  const { domain } = readSnapshot(document, { internal: false }).snapshot;
  if (!domain) throw new Error('no domain');
  return domain.element;
}

type Pair = readonly [before: string, after: string];

function ours([before, after]: Pair): string | undefined {
  const [source, target] = [definitionOf(before), definitionOf(after)];
  try {
    checkAbiStability(source, target);
    return undefined;
  } catch (error) {
    return inCommonWords(asLibvirtError(error).message);
  }
}

const changes = (table: readonly (readonly [from: string | RegExp, to: string, ...unknown[]])[]): readonly Pair[] =>
  table.map(([from, to]) => [GUEST, changed(GUEST, [from, to])]);

const libvirts = (pairs: readonly Pair[]) =>
  virshRedefinitions(DOMAIN, pairs).map((words) => words && inCommonWords(words));

test('a definition is never refused for being what it was, not even with a value that no guest can have', () => {
  const odd = definitionOf(
    changed(GUEST, ['</features>', "<smm state='on'><tseg unit='P'>16390</tseg></smm></features>"]),
  );
  expect(() => checkAbiStability(odd, structuredClone(odd))).not.toThrow();
});

describe('a definition that a saved guest would notice is refused as libvirt refuses it', () => {
  const pairs = changes(REFUSED);
  const answers = libvirts(pairs);

  test.each(REFUSED.map(([from, to], index) => ({ change: `${from} → ${to}`, index })))('$change', ({ index }) => {
    expect(answers[index]).toBeDefined();
    expect(pairs.slice(index, index + 1).map(ours)).toEqual([answers[index]]);
  });
});

test('the other way round, too', () => {
  const pairs = changes(REFUSED).map(([before, after]): Pair => [after, before]);
  expect(pairs.map(ours)).toEqual(libvirts(pairs));
});

test('where libvirt names the wrong thing, ours names the right one', () => {
  const pairs = changes(MISPRINTS);
  expect([libvirts(pairs), pairs.map(ours)]).toEqual([
    MISPRINTS.map(([, , theirs]) => expect.stringMatching(theirs)),
    MISPRINTS.map(([, , , right]) => expect.stringContaining(right)),
  ]);
});

test('of two faults the one is named that libvirt finds first', () => {
  const pairs = REFUSED.slice(1).flatMap((change, index): readonly Pair[] => {
    const before = REFUSED[index];
    if (!before) return [];
    const one = GUEST.replace(...before);
    const both = one.replace(...change);
    return both === one ? [] : [[GUEST, both]];
  });
  expect(pairs.map(ours)).toEqual(libvirts(pairs));
});

test('what only the host sees may change', () => {
  const pairs = changes(TAKEN);
  const nothing = TAKEN.map(() => undefined);
  expect([libvirts(pairs), pairs.map(ours)]).toEqual([nothing, nothing]);
});

test('devices that libvirt adds by itself may be left out of a definition', () => {
  const without = GUEST.replace(/<(controller|memballoon|console).*/g, '');
  expect(ours([GUEST, without])).toBeUndefined();
});
