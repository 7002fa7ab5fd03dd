import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { isPhase, PHASES } from '../../../src/model/phases.ts';

const SRC = resolve(import.meta.dirname, '../../../src');

/** As an operation or a mechanism announces it: `phase('saving')`, `step(job, 'restore', …)`. */
const ANNOUNCED = /\bphase\('([a-z-]+)'\)|\bstep\(\s*job,\s*'([a-z-]+)'/g;

test('every phase of the table is announced somewhere, and no other one is', () => {
  const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const announced = sources.flatMap((name) =>
    [...readFileSync(join(SRC, name), 'utf8').matchAll(ANNOUNCED)].map((match) => match[1] ?? match[2]),
  );
  // The journal itself begins each record with this one.
  const table = new Set<string>(Object.values(PHASES).flat());
  table.delete('begun');
  expect([...new Set(announced)].sort()).toEqual([...table].sort());
});

test('each operation has its own phases', () => {
  expect(isPhase('create', 'paused')).toBe(true);
  expect(isPhase('delete', 'paused')).toBe(false);
  expect(isPhase('constructor', 'begun')).toBe(false);
});
