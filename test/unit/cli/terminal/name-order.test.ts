import { expect, test } from '@jest/globals';
import { nameOrder } from '../../../../src/cli/terminal/name-order.ts';

const NAMES = ['_', 'B', 'Idle', 'a', 'ab', 'i', 'jot', 'Ä', 'ä', 'ﬀ', '😀'];

const sorted = (env: NodeJS.ProcessEnv): readonly string[] =>
  NAMES.map((name) => ({ name }))
    .sort(nameOrder(env))
    .map(({ name }) => name);

test.each([
  [{}],
  [{ LANG: 'de_DE.UTF-8' }],
  [{ LC_ALL: 'C', LANG: 'tr_TR.UTF-8' }],
  [{ LC_ALL: '', LC_CTYPE: 'en_US.UTF-8', LANG: 'tr_TR.UTF-8' }],
  [{ LANG: 'tt_RU.UTF-8' }],
  [{ LANG: 'tr_TR' }],
])('%j: bytes, but A to Z as their small letters', (env) => {
  expect(sorted(env)).toEqual(['_', 'a', 'ab', 'B', 'i', 'Idle', 'jot', 'Ä', 'ä', 'ﬀ', '😀']);
});

test.each([
  [{ LANG: 'tr_TR.UTF-8' }],
  [{ LC_ALL: 'az_AZ.utf8', LANG: 'C' }],
  [{ LC_CTYPE: 'ku_TR.UTF-8', LANG: 'C' }],
  [{ LANG: 'tt_RU.UTF-8@iqtelif' }],
])('%j: I is not the capital of i', (env) => {
  expect(sorted(env)).toEqual(['Idle', '_', 'a', 'ab', 'B', 'i', 'jot', 'Ä', 'ä', 'ﬀ', '😀']);
});
