import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { type DiskImage, movesOff } from '../../../../src/model/disk-image.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import { chainFrom, type Standing, stateOf } from '../../../../src/snapshots/chains/snapshot-images.ts';
import { afterMerge, planMerge, planMerges, restated } from '../../../../src/snapshots/delete/plan-merges.ts';
import { checkNotBase, misplacedOverlay } from '../../../../src/snapshots/revert/image-rules.ts';
import { planRevertDisks } from '../../../../src/snapshots/revert/plan-disks.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

const image = (name: string): DiskImage => ({ path: `/d/${name}`, format: 'qcow2' });

const domain = (source: string) =>
  parseDefinition(`<domain type='xen'><name>vm</name><devices><disk type='file' device='disk'>
    <driver name='qemu' type='qcow2'/><source file='/d/${source}'/><target dev='xvda' bus='xen'/>
  </disk></devices></domain>`);

interface Given {
  readonly state: string;
  readonly overlay?: string;
  readonly reverted?: string;
  readonly location?: 'internal' | 'no';
}

/** A snapshot of one disk: its state is image `state`, and it made `overlay`, a later revert `reverted`. */
function snapshot(name: string, { state, overlay, reverted, location = 'internal' }: Given): SnapshotDef {
  const external = (path: string) =>
    ({ name: 'xvda', location: 'external', target: { type: 'file', format: 'qcow2', path: `/d/${path}` } }) as const;
  return {
    name,
    state: 'shutoff',
    creationTime: 0n,
    memory: { location: 'no' },
    disks: [overlay ? external(overlay) : { name: 'xvda', location }],
    revertDisks: reverted ? [external(reverted)] : [],
    domain: domain(state),
  };
}

/** `chains`: each from its top; the first one is the domain's. */
function standing(...chains: readonly string[][]): Standing {
  const backing = chains.flatMap((chain) =>
    chain.slice(1).map((beneath, index) => [`/d/${chain[index]}`, image(beneath)] as const),
  );
  const tips = new Map(chains[0]?.[0] ? [['xvda', image(chains[0][0])]] : []);
  return { tips, next: tips, backing: new Map(backing), missing: new Set() };
}

const layer = (top: string, base: string, above?: string) => ({
  disk: 'xvda',
  top: image(top),
  base: image(base),
  ...(above && { above: image(above) }),
});

describe('deleting an external snapshot', () => {
  const s1 = snapshot('s1', { state: 'base', overlay: 'o1' });
  const s2 = snapshot('s2', { state: 'o1', overlay: 'o2' });

  test('merges the guest’s layer into the image beneath, which is the disk then', () => {
    const plan = planMerge(s2, [s1], standing(['o2', 'o1', 'base']));
    expect(plan).toEqual({
      own: [layer('o2', 'o1')],
      others: [],
      rebased: [],
      unused: [],
    });
    expect(afterMerge(standing(['o2', 'o1', 'base']), plan).tips.get('xvda')).toEqual(image('o1'));
  });

  test('merges a layer in the middle, and says which one stands on it', () => {
    const plan = planMerge(s1, [s2], standing(['o2', 'o1', 'base']));
    expect(plan.own).toEqual([layer('o1', 'base', 'o2')]);
    expect(movesOff(plan.own)).toEqual([{ disk: 'xvda', from: image('o1'), to: image('base') }]);
    expect(restated(s2, plan)?.domain && stateOf(restated(s2, plan) as SnapshotDef, 'xvda')).toEqual(image('base'));
    expect(restated(s1, plan)).toBeUndefined();
  });

  test('removes overlays that nothing stands on any more', () => {
    const plan = planMerge(s2, [s1], standing(['r1', 'base'], ['o1', 'base'], ['o2', 'o1', 'base']));
    expect(plan).toMatchObject({ own: [], others: [], unused: [image('o2')] });
  });

  test('of another branch merges in that branch, which nobody has open', () => {
    const s3 = snapshot('s3', { state: 'o2', overlay: 'o3' });
    const plan = planMerge(s2, [s1, s3], standing(['r1', 'base'], ['o3', 'o2', 'o1', 'base']));
    expect(plan).toMatchObject({ own: [], others: [layer('o2', 'o1')], unused: [] });
    expect(stateOf(restated(s3, plan) as SnapshotDef, 'xvda')).toEqual(image('o1'));
  });

  test('is refused while two branches stand on its image', () => {
    const reverted = snapshot('s1', { state: 'base', overlay: 'o1', reverted: 'r1' });
    expect(() => planMerge(reverted, [s2], standing(['r1', 'base'], ['o2', 'o1', 'base']))).toThrow(
      /deletion of external snapshot 's1' is not supported while several branches use image '\/d\/base' of disk 'xvda'/,
    );
  });

  test('is refused where the domain itself stands on the image beneath', () => {
    expect(() => planMerge(s1, [s2], standing(['base'], ['o2', 'o1', 'base']))).toThrow(/several branches/);
  });

  test('sees a branch that no snapshot lists: it stands on the image all the same', () => {
    const onLost = snapshot('s3', { state: 'lost', overlay: 'o3' });
    expect(() => planMerge(s1, [s2, onLost], standing(['o3', 'lost', 'base'], ['o2', 'o1', 'base']))).toThrow(
      /several branches/,
    );
  });

  test('goes on where an earlier delete had merged the layer and came no further', () => {
    // o1 is gone from the disk, the definition still names it.
    const plan = planMerge(s1, [], standing(['o1']));
    expect(plan.own).toEqual([layer('o1', 'base')]);
    expect(movesOff(plan.own)).toEqual([{ disk: 'xvda', from: image('o1'), to: image('base') }]);
  });

  test('is refused where the overlay is missing and may come back: its folder is another, or the base is gone, too', () => {
    const gone = { ...standing(['o1']), missing: new Set(['/d/o1', '/d/base']) };
    expect(() => planMerge(s1, [], gone)).toThrow(/overlay '\/d\/o1' of disk 'xvda' and snapshot 's1' is missing/);
    const elsewhere = snapshot('s1', { state: 'base', overlay: '../mnt/o1' });
    const tips = new Map([['xvda', { path: '/d/../mnt/o1', format: 'qcow2' }]]);
    const unmounted = { ...standing(['x']), tips, next: tips, missing: new Set(['/d/../mnt/o1']) };
    expect(() => planMerge(elsewhere, [], unmounted)).toThrow(/is its file system mounted\?/);
  });

  test('goes on where the live definition had followed the merge, and the persistent one had not', () => {
    const now = { ...standing(['base']), next: new Map([['xvda', image('o1')]]) };
    const { own, others } = planMerge(s1, [], now);
    expect(movesOff([...own, ...others])).toEqual([{ disk: 'xvda', from: image('o1'), to: image('base') }]);
  });

  test('leaves what the domain is to start from next, though it runs on something else', () => {
    const now = { ...standing(['o3', 'base'], ['o1', 'base']), next: new Map([['xvda', image('o1')]]) };
    expect(() => planMerge(s1, [], now)).toThrow(/several branches/);
  });

  test('is refused where the domain has the disk no longer, or another in its place', () => {
    expect(() => planMerge(s1, [], standing([], ['o1', 'base']))).toThrow(
      /would remove or change image '\/d\/o1', .*: the domain has no disk 'xvda' any more\. .*--metadata/,
    );
    expect(() => planMerge(s1, [], standing(['other'], ['o1', 'base']))).toThrow(/disk 'xvda' .* is '\/d\/other' now/);
    // Its definition was put back to the image of before; what was written since is in the overlay alone.
    expect(() => planMerge(s1, [], standing(['base'], ['o1', 'base']))).toThrow(/disk 'xvda' .* is '\/d\/base' now/);
    // Nothing is there to be lost.
    const gone = { ...standing(['other'], ['base']), missing: new Set(['/d/o1']) };
    expect(planMerge(s1, [], gone).own).toEqual([]);
  });

  test('removes an overlay that an interrupted delete has emptied, though the domain is on the image beneath', () => {
    const now = standing(['base'], ['o1', 'base']);
    const { own, others, unused } = planMerge(s1, [], now, new Set(['/d/o1']));
    expect([own, others, unused]).toEqual([[], [], [{ ...image('o1'), disk: 'xvda' }]]);
  });

  test('merges nothing into an image that is another snapshot’s state, too', () => {
    const twin = snapshot('s3', { state: 'base', overlay: 'o3' });
    expect(planMerge(s1, [twin], standing(['o3', 'base'], ['o1', 'base']))).toEqual({
      own: [],
      others: [],
      rebased: [],
      unused: [{ ...image('o1'), disk: 'xvda' }],
    });
  });

  test('is refused where it would remove a file whose base is not the snapshot’s image', () => {
    const redefined = snapshot('s1', { state: 'base', overlay: 'precious' });
    for (const chains of [
      [['o1', 'base']],
      [
        ['o1', 'base'],
        ['precious', 'x'],
      ],
    ]) {
      expect(() => planMerge(redefined, [], standing(...chains))).toThrow(
        /would remove image '\/d\/precious' of disk 'xvda', whose base is not the .*--metadata/,
      );
    }
  });

  test('is refused while the image beneath is not there', () => {
    const now = { ...standing(['o1', 'base']), missing: new Set(['/d/base']) };
    expect(() => planMerge(s1, [], now)).toThrow(/image '\/d\/base' of disk 'xvda' .* is missing/);
  });

  test('goes on where the layer above stood on the base already, and the merged one was there', () => {
    const state = snapshot('s1', { state: 'base', overlay: 'o1' });
    const begun = { ...state, disks: state.disks.map((disk) => ({ ...disk, deleteInProgress: true as const })) };
    const now = standing(['o2', 'base'], ['o1', 'base']);
    expect(() => planMerge(state, [s2], now)).toThrow(/several branches/);
    expect(planMerge(begun, [s2], now).own).toEqual([layer('o1', 'base', 'o2')]);
  });

  test('takes along overlays that only another snapshot names', () => {
    const reverted = snapshot('s2', { state: 'o1', overlay: 'old', reverted: 'o2' });
    const { rebased } = planMerge(s1, [reverted], standing(['o2', 'o1', 'base'], ['old', 'o1', 'base']));
    expect(rebased).toEqual([{ image: image('old'), base: image('base') }]);
  });

  test('leaves disks alone that the snapshot did not capture by an overlay', () => {
    const internal = snapshot('s1', { state: 'base' });
    expect(planMerge(internal, [s2], standing(['o2', 'o1', 'base']))).toMatchObject({
      own: [],
      others: [],
      unused: [],
    });
  });

  test('is refused before the first of several where a later one would be', () => {
    const now = standing(['o2', 'o1', 'base'], ['x', 'base']);
    const branch = snapshot('s3', { state: 'x', overlay: 'y' });
    const internal = snapshot('s4', { state: 'o2' });
    expect([...planMerges(['s4', 's2'], [s1, s2, branch, internal], now).keys()]).toEqual(['s2']);
    expect(() => planMerges(['s2', 's1'], [s1, s2, branch], now)).toThrow(/several branches/);
  });
});

describe('a chain of deletes, on paper', () => {
  test('keeps every remaining snapshot’s state and ends with the base alone, whatever the order', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 6 })
          .chain((depth) => fc.shuffledSubarray([...Array(depth).keys()], { minLength: depth })),
        (order) => {
          const names = ['base', ...order.map((_, index) => `o${index + 1}`)];
          let left = order.map((_, index) =>
            snapshot(`s${index + 1}`, { state: names[index] ?? '', overlay: names[index + 1] ?? '' }),
          );
          let now = standing([...names].reverse());
          const plans = planMerges(
            order.map((index) => `s${index + 1}`),
            left,
            now,
          );
          for (const index of order) {
            const doomed = left.find(({ name }) => name === `s${index + 1}`) as SnapshotDef;
            left = left.filter((def) => def !== doomed);
            const plan = planMerge(doomed, left, now);
            expect(plan.own.length + plan.others.length).toBe(1);
            expect(plans.get(doomed.name)).toEqual({ plan, others: left });
            left = left.map((def) => restated(def, plan) ?? def);
            now = afterMerge(now, plan);
            const chain = chainFrom(now.tips.get('xvda'), now).map(({ path }) => path);
            expect(chain.length).toBe(left.length + 1);
            for (const def of left) expect(chain).toContain(stateOf(def, 'xvda')?.path);
          }
          expect(now.tips.get('xvda')).toEqual(image('base'));
        },
      ),
    );
  });
});

describe('reverting to an internal snapshot', () => {
  const internal = snapshot('s1', { state: 'base' });

  test.each([
    ['an external snapshot stands on its image', { state: 'base', overlay: 'o2' }, 'external'],
    ['one stands on it further down', { state: 'o1', overlay: 'o2' }, 'external'],
    ['another is inside a layer above it', { state: 'o1' }, 'internal'],
  ])('is refused where %s', (_, other, kind) => {
    const now = standing(['o2', 'o1', 'base']);
    expect(() => checkNotBase(internal, [snapshot('s2', other)], now)).toThrow(
      `revert to internal snapshot 's1' would change image '/d/base' of disk 'xvda', which ${kind} snapshot 's2' is based on`,
    );
  });

  test('is fine where others are in other images, internal in the same, or have left the disk out', () => {
    const others = [
      snapshot('s2', { state: 'base' }),
      snapshot('s3', { state: 'o2', overlay: 'o3' }),
      snapshot('s4', { state: 'o1', location: 'no' }),
    ];
    expect(() => checkNotBase(internal, others, standing(['base'], ['o1', 'base']))).not.toThrow();
  });
});

describe('the overlays in the backing chain of an external snapshot', () => {
  const s1 = snapshot('s1', { state: 'base', overlay: 'o1' });
  const s2 = snapshot('s2', { state: 'o1', overlay: 'o2' });

  test('are based on the images that they were made on', () => {
    expect(misplacedOverlay(s2, [s1, s2], standing(['o2', 'o1', 'base']))).toBeUndefined();
    expect(misplacedOverlay(s2, [s2], standing(['o2', 'o1', 'x']))).toBeUndefined();
  });

  test.each([
    ['another image', ['o2', 'o1', 'x', 'base'], image('x')],
    ['none', ['o2', 'o1'], undefined],
  ])('are reported if they are based on %s', (_, chain, base) => {
    expect(misplacedOverlay(s2, [s1, s2], standing(chain))).toEqual({
      disk: 'xvda',
      overlay: image('o1'),
      base,
      owner: s1,
      expected: image('base'),
    });
  });
});

describe('the disks of a revert', () => {
  const from = (tip: string, others: readonly SnapshotDef[] = []) => ({
    tips: new Map([['xvda', image(tip)]]),
    others,
    present: new Set(['/d/base.s1']),
    suffix: '1700',
  });

  test('to an external snapshot are fresh overlays on its images; the tip goes, and the snapshot names the new ones', () => {
    const s1 = snapshot('s1', { state: 'base.qcow2', overlay: 'base.s1' });
    const plan = planRevertDisks(s1, from('base.s1'));
    expect(plan.overlays).toMatchObject([
      { external: true, external_format: 'qcow2', external_path: '/d/base.1700', disk: { pdev_path: '/d/base.qcow2' } },
    ]);
    expect(plan.images).toEqual(new Map([['xvda', image('base.1700')]]));
    expect(plan.abandoned).toEqual([image('base.s1')]);
    expect(plan.snapshot.disks).toMatchObject([{ target: { path: '/d/base.1700' } }]);
    expect(plan.snapshot.revertDisks).toEqual([]);
  });

  test('to one that others stand above go into revertDisks, and nothing of the others is touched', () => {
    const s1 = snapshot('s1', { state: 'base.qcow2', overlay: 'base.s1' });
    const s2 = snapshot('s2', { state: 'base.s1', overlay: 'base.s2' });
    const plan = planRevertDisks(s1, from('base.s2', [s2]));
    expect(plan.snapshot.disks).toEqual(s1.disks);
    expect(plan.snapshot.revertDisks).toMatchObject([{ name: 'xvda', target: { path: '/d/base.1700' } }]);
    expect(plan.abandoned).toEqual([image('base.s2')]);
  });

  test('leave an overlay named that the domain has moved on from', () => {
    const s1 = snapshot('s1', { state: 'base.qcow2', overlay: 'base.s1' });
    const { snapshot: after, abandoned } = planRevertDisks(s1, from('other'));
    expect(after.disks).toEqual(s1.disks);
    expect(after.revertDisks).toMatchObject([{ name: 'xvda', target: { path: '/d/base.1700' } }]);
    expect(abandoned).toEqual([]);
  });

  test('never abandon an image that is a snapshot’s state', () => {
    const s1 = snapshot('s1', { state: 'base.qcow2', overlay: 'base.s1' });
    const internal = snapshot('s2', { state: 'base.s1' });
    expect(planRevertDisks(s1, from('base.s1', [internal])).abandoned).toEqual([]);
  });

  test('never abandon an image that no snapshot has made', () => {
    const s1 = snapshot('s1', { state: 'base.qcow2', overlay: 'base.s1' });
    expect(planRevertDisks(s1, from('mine.qcow2')).abandoned).toEqual([]);
  });

  test('to an internal snapshot are its own images', () => {
    const plan = planRevertDisks(snapshot('s1', { state: 'base' }), from('base'));
    expect(plan).toMatchObject({ overlays: [], abandoned: [] });
    expect(plan.images.size).toBe(0);
  });

  test('that the snapshot left out stay as they are now', () => {
    const plan = planRevertDisks(snapshot('s1', { state: 'base', location: 'no' }), from('o2'));
    expect(plan.images).toEqual(new Map([['xvda', image('o2')]]));
  });
});
