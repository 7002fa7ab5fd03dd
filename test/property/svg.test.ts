/** Whatever snapshots and images there are: in the picture nothing overlaps, nothing sticks out, and all of it is there. */

import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { ImagesOfDisk } from '../../src/cli/storage/disk-images.ts';
import type { SnapshotOnDisk } from '../../src/cli/storage/domain-facts.ts';
import { snapshotPicture } from '../../src/cli/tree/picture.ts';
import type { XmlElement } from '../../src/model/element.ts';
import { childElements, textOf } from '../../src/model/element.ts';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { diskOf, domainOf, factsOf, qcow2 } from '../support/snapshot-facts.ts';

const NAMES = ['a', 'snapshot-with-a-rather-long-name', '漢字のスナップショット名前です', 'd', 'e<f>', 'é', 'g', 'h'];
const TARGETS = ['xvda', 'xvdb'];
/** Enough for chains that are deeper than the picture indents. */
const PATHS = [
  '/i/an-image-with-a-very-long-file-name-indeed.qcow2',
  ...Array.from({ length: 9 }, (_, at) => `/i/over.${at}`),
];

const disk = fc
  .tuple(
    fc.constantFrom(...TARGETS),
    fc.constantFrom(...PATHS),
    fc.option(fc.constantFrom(...PATHS), { nil: undefined }),
  )
  .map(([target, path, overlay]) => diskOf(target, path, overlay === path ? undefined : overlay));

const snapshots = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom(...NAMES),
      parent: fc.option(fc.constantFrom(...NAMES), { nil: undefined }),
      creationTime: fc.bigInt({ min: 0n, max: 4_000_000_000n }),
      kind: fc.constantFrom('internal', 'external', 'disk-only', 'offline'),
      state: fc.constantFrom('running', 'paused', 'shutoff', 'disk-snapshot'),
      disks: fc.uniqueArray(disk, { maxLength: 2, selector: ({ target }) => target }),
    }),
    { selector: ({ name }) => name },
  )
  .chain((all) => fc.tuple(fc.constant(all), fc.option(fc.constantFrom(...all.map(({ name }) => name), 'x'))))
  .map(([all, current]): readonly SnapshotOnDisk[] =>
    all.map(({ parent, ...rest }) =>
      factsOf(rest.name, { ...rest, ...(parent !== undefined && { parent }), current: rest.name === current }),
    ),
  );

const images = fc
  .array(fc.option(fc.constantFrom(...PATHS, 'the one before', 'the one before'), { nil: undefined, freq: 9 }), {
    minLength: PATHS.length,
    maxLength: PATHS.length,
  })
  .map((backings): readonly ImagesOfDisk[] =>
    TARGETS.map((target) => ({
      target,
      active: PATHS[2],
      images: PATHS.map((path, at) => {
        const backing = backings[at] === 'the one before' ? PATHS[at - 1] : backings[at];
        const sizes = { virtualBytes: 1 << 30, allocatedBytes: 1 << 20, snapshots: [], bitmaps: [] };
        const info = { ...qcow2(path), ...sizes, ...(backing !== undefined && { backing: qcow2(backing) }) };
        return at === 9 ? { ...qcow2(path), problem: 'gone', begun: 0n } : { ...qcow2(path), info, begun: BigInt(at) };
      }),
    })),
  );

interface Box {
  readonly x: number;
  readonly y: number;
  readonly right: number;
  readonly bottom: number;
}

const number = ({ attributes }: XmlElement, name: string): number => Number(attributes[name]);

function boxOf(rect: XmlElement): Box {
  const [x, y] = [number(rect, 'x'), number(rect, 'y')];
  return { x, y, right: x + number(rect, 'width'), bottom: y + number(rect, 'height') };
}

/** The widest that a fixed-width font in use makes it; ideographs are twice as wide. */
function textBox(text: XmlElement): Box {
  const size = { title: 18, name: 13, detail: 11 }[text.attributes.class as 'title' | 'name' | 'detail'];
  const columns = [...textOf(text)].reduce((sum, character) => sum + (character > '\u2fff' ? 2 : 1), 0);
  const width = columns * size * 0.602;
  const x = number(text, 'x') - (text.attributes['text-anchor'] === 'middle' ? width / 2 : 0);
  return { x, y: number(text, 'y') - size, right: x + width, bottom: number(text, 'y') + 3 };
}

const overlap = (a: Box, b: Box): boolean => a.x < b.right && b.x < a.right && a.y < b.bottom && b.y < a.bottom;
const within = (inner: Box, outer: Box): boolean =>
  inner.x >= outer.x && inner.y >= outer.y && inner.right <= outer.right && inner.bottom <= outer.bottom;

/** The straight parts of a path of M, H, V and Q, as boxes without area. */
function segments({ attributes }: XmlElement): readonly Box[] {
  const found: Box[] = [];
  let [x, y] = [0, 0];
  for (const [, letter, rest = ''] of (attributes.d ?? '').matchAll(/([MHVQ])([^MHVQ]*)/g)) {
    const values = rest.trim().split(/\s+/).map(Number);
    const [toX, toY] =
      letter === 'H'
        ? [values[0] ?? 0, y]
        : letter === 'V'
          ? [x, values[0] ?? 0]
          : [values.at(-2) ?? 0, values.at(-1) ?? 0];
    if (letter !== 'M')
      found.push({ x: Math.min(x, toX), y: Math.min(y, toY), right: Math.max(x, toX), bottom: Math.max(y, toY) });
    [x, y] = [toX, toY];
  }
  return found;
}

const classed = (parts: readonly XmlElement[], ...names: readonly string[]): readonly XmlElement[] =>
  parts.filter(({ attributes }) => names.some((name) => attributes.class?.split(' ').includes(name)));

test('no box overlaps another, no line of a tree crosses a box, every text is where it belongs', () => {
  fc.assert(
    fc.property(snapshots, images, (all, disks) => {
      const root = parseXml(snapshotPicture(domainOf(all, { xvda: qcow2('/i/over.1') }), disks), 'domain_definition');
      const parts = childElements(root);
      const groups = classed(parts, 'node', 'image', 'mark');
      const canvas: Box = { x: 0, y: 0, right: number(root, 'width'), bottom: number(root, 'height') };
      const offenders: unknown[] = [];
      const boxes = groups.map((group) => {
        const [first] = classed(childElements(group), 'card', 'pill');
        if (!first) throw new Error('a group without a box');
        const box = boxOf(first);
        const texts = childElements(group, 'text');
        offenders.push(...texts.filter((text) => !within(textBox(text), box)));
        return box;
      });
      const solid = [...boxes, ...childElements(root, 'text').map(textBox)];
      offenders.push(...solid.filter((box) => !within(box, canvas)));
      solid.forEach((box, at) => {
        offenders.push(...solid.slice(at + 1).filter((other) => overlap(box, other)));
      });
      // A line ends at a box's edge, and may not go into one.
      const bodies = boxes.map((box) => ({ ...box, x: box.x + 0.1, right: box.right - 0.1 }));
      const lines = classed(parts, 'edge', 'chain').flatMap(segments);
      offenders.push(...lines.filter((line) => bodies.some((body) => overlap(line, body))));
      expect(offenders).toEqual([]);
      expect(classed(groups, 'node')).toHaveLength(all.length + 1);
      expect(classed(groups, 'image')).toHaveLength(20);
    }),
    { numRuns: 100 },
  );
});
