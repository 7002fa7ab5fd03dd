/** Which images a commit may name: the qemu driver's words for what does not fit (qemuDomainBlockCommit). */

import { expect, test } from '@jest/globals';
import { COMMIT } from '../../../../src/model/flags.ts';
import { planCommit } from '../../../../src/snapshots/block-jobs/plan-commit.ts';
import { RecordedWorld } from '../../../support/fakes/recorded-world.ts';

const { ACTIVE, SHALLOW } = COMMIT;

async function planned(top: string | undefined, base: string | undefined, flags: number) {
  await using world = await RecordedWorld.open({ chain: ['b2', 'b1', 'base'] });
  const path = (name: string | undefined) => (name === undefined ? undefined : world.path(name));
  const request = { disk: 'xvda', top: path(top), base: path(base), flags };
  const named = (text: string): string => text.replaceAll(`${world.path('')}/`, '');
  return await planCommit(world.context, world.domain, request).then(
    (job) => named(JSON.stringify(job)),
    (error) => named(`${error.code}: ${error.detail}`),
  );
}

test.each([
  ['b2', 'base', ACTIVE | SHALLOW, "base 'base' is not immediately below 'b2' in chain for 'b2'"],
  ['b1', undefined, ACTIVE, "active commit requested but 'b1' is not active"],
  ['b2', undefined, 0, "commit of 'xvda' active layer requires active flag"],
  ['base', undefined, 0, "top 'base' in chain for 'b2' has no backing file"],
  ['b1', 'b2', 0, "could not find image 'b2' beneath 'b1' in chain for 'xvda'"],
])('a commit of %s into %s with flags %i is refused', async (top, base, flags, text) => {
  expect(await planned(top, base, flags)).toBe(`INVALID_ARG: ${text}`);
});

test.each([
  ['b2', 'b1', ACTIVE | SHALLOW, { kind: 'active-commit', layer: { top: 'b2', base: 'b1' } }],
  ['b2', undefined, ACTIVE | SHALLOW, { kind: 'active-commit', layer: { top: 'b2', base: 'b1' } }],
  ['b1', undefined, SHALLOW, { kind: 'commit', layer: { top: 'b1', base: 'base', above: 'b2' } }],
])('a shallow commit of %s into %s, flags %i, merges one layer', async (top, base, flags, { kind, layer }) => {
  const image = (path: string) => ({ path, format: 'qcow2' });
  const images = Object.fromEntries(Object.entries(layer).map(([role, name]) => [role, image(name)]));
  expect(JSON.parse(await planned(top, base, flags))).toMatchObject({ kind, layer: { disk: 'xvda', ...images } });
});
