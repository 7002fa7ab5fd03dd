/** What reverts have left on volumes and in images: whose it is, and the commands that put it back or remove it. */

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { foundLeftovers, leftoverFindings } from '../../../../src/cli/doctor/revert-leftovers.ts';
import { fakeVolumes, phy } from '../../../support/disks/fake-volumes.ts';
import { twoImages } from '../../../support/disks/two-images.ts';
import { qemuImg } from '../../../support/hosts/embedded.ts';
import { UUID } from '../../../support/snapshot-facts.ts';

const domain = { name: 'vm', uuid: UUID, id: -1 };
const record = { domain, operation: 'revert', snapshot: 's', flags: 0, phase: 'disks' } as const;

let two: Awaited<ReturnType<typeof twoImages>>;

beforeEach(async () => {
  two = await twoImages();
});

afterEach(async () => {
  await two[Symbol.asyncDispose]();
});

/** Of volumes, by the names that a revert gives them. */
async function onVolumes(...names: readonly string[]) {
  const all = ['vg/vm.xlsnap.s1', 'vg/vm2', ...names].map((name) => [name, { contents: '', origin: 'vm' }]);
  await using _ = await fakeVolumes(Object.fromEntries(all));
  return await foundLeftovers([{ domain, disk: phy('xvda', '/dev/vg/vm').disk }]);
}

test('a volume and an image that hold what a disk held before', async () => {
  await qemuImg('snapshot', '-c', '.xlsnap-before-revert', two.a);
  await qemuImg('snapshot', '-c', 's1', two.b);
  const images = await foundLeftovers(two.disks.map(({ disk }) => ({ domain, disk })));
  const found = [...(await onVolumes('vg/vm', 'vg/vm.xlsnap-pre')), ...images];
  const held = "holds what a disk of domain 'vm' held before a revert that is not under way any more";
  expect(leftoverFindings(found, [])).toEqual([
    {
      level: 'problem',
      problem: `volume 'vg/vm.xlsnap-pre' ${held}`,
      wayOut:
        'if nobody needs it, while the domain is off: lvremove -y -- vg/vm.xlsnap-pre; ' +
        "to put it back, with those of the domain's other disks: lvconvert --merge -- vg/vm.xlsnap-pre",
    },
    {
      level: 'problem',
      problem: `internal snapshot '.xlsnap-before-revert' of '${two.a}' ${held}`,
      wayOut:
        `if nobody needs it, while the domain is off: qemu-img snapshot -d .xlsnap-before-revert '${two.a}'; ` +
        `to put it back, with those of the domain's other disks: qemu-img snapshot -a .xlsnap-before-revert '${two.a}'`,
    },
  ]);
});

test('volumes that were to be replaced, or have been', async () => {
  const found = leftoverFindings(await onVolumes('vg/vm', 'vg/vm.xlsnap-old', 'vg/vm.xlsnap-new'), []);
  expect(found.map(({ problem, wayOut }) => `${problem}: ${wayOut}`)).toEqual([
    "volume 'vg/vm.xlsnap-old' is left over from a revert of domain 'vm': remove it while the domain is off: lvremove -y -- vg/vm.xlsnap-old",
    "volume 'vg/vm.xlsnap-new' is left over from a revert of domain 'vm': remove it while the domain is off: lvremove -y -- vg/vm.xlsnap-new",
  ]);
});

test('a volume that is the disk itself is not to be removed, whatever else is there', async () => {
  const found = leftoverFindings(await onVolumes('vg/vm.xlsnap-old', 'vg/vm.xlsnap-new', 'vg/vm.xlsnap-pre'), []);
  expect(found.map(({ problem }) => problem)).toEqual([
    "volume 'vg/vm.xlsnap-old' is a disk of domain 'vm', under another name since a revert that was interrupted",
  ]);
  expect(found[0]?.wayOut).toContain('virsh snapshot-revert');
});

test('of a domain whose revert is in the journal are not reported: it needs them', async () => {
  const found = await onVolumes('vg/vm', 'vg/vm.xlsnap-pre');
  expect(found).toHaveLength(1);
  expect(leftoverFindings(found, [record])).toEqual([]);
});
