/**
 * Computes the layout of the picture of a domain's snapshots. Every snapshot has a lane of its own, from the tree above
 * down to the images below; the domain as it is now has the last lane of its branch. No box overlaps another, and no
 * line of the tree crosses a box.
 */

import type { FoundImage, ImagesOfDisk } from '../storage/disk-images.ts';
import type { DomainFacts, SnapshotOnDisk } from '../storage/domain-facts.ts';
import { type Branch, forest } from './ordered-tree.ts';

/** A place in the picture, in pixels from the top left. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The box of a snapshot. */
export interface SnapshotNode extends Box {
  /** Undefined for the domain as it is now. */
  readonly snapshot: SnapshotOnDisk | undefined;
  readonly lane: number;
  /** The parent's node. */
  readonly parent: SnapshotNode | undefined;
}

/** The row of an image. */
export interface ImageRow extends Box {
  readonly image: FoundImage;
  /** Its backing image, if that is in the picture. */
  readonly backing: ImageRow | undefined;
  readonly marks: readonly ImageMark[];
}

/** The role of an image for a snapshot, or for the domain now. */
export type MarkKind = 'inside' | 'frozen' | 'begins' | 'writes';

/** A mark in an image's row, in the lane of a snapshot. */
export interface ImageMark extends Box {
  readonly kind: MarkKind;
  readonly node: SnapshotNode;
}

/** The images of one disk. */
export interface DiskSection {
  readonly target: string;
  /** Baseline of its heading. */
  readonly y: number;
  readonly rows: readonly ImageRow[];
}

/** The places of everything in the picture. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly nodes: readonly SnapshotNode[];
  readonly disks: readonly DiskSection[];
  /** Top of the legend. */
  readonly legend: number;
}

/** All lengths are pixels at the picture's own size. */
export const SIZES = {
  margin: 24,
  /** Left of the lanes: headings and images. */
  gutter: 280,
  header: 84,
  lane: 176,
  node: { width: 152, height: 66, row: 90 },
  /** From one image to the next, and one step of a backing chain. */
  image: { height: 42, row: 54, indent: 16, maxIndent: 5 },
  mark: { width: 84, height: 24 },
  disk: { before: 30, heading: 28 },
  /** Two marks beside each other, in two rows. */
  legend: { before: 28, column: 300, row: 34, height: 58, width: 580 },
} as const;

/** A name that no snapshot can have. */
const NOW = '/now';
/** Later than any snapshot. */
const LATEST = 1n << 62n;

/** Places the snapshots in lanes, and the images of each disk below them. */
export function layOut(facts: Pick<DomainFacts, 'snapshots'>, images: readonly ImagesOfDisk[]): Layout {
  const { margin, gutter, header, lane, node, legend } = SIZES;
  const nodes = placeNodes(facts.snapshots);
  const bottom = Math.max(...nodes.map(({ y }) => y)) + node.height;
  const disks: DiskSection[] = [];
  let y = Math.max(bottom, margin + header);
  for (const disk of images) {
    const section = placeDisk(disk, nodes, y + SIZES.disk.before);
    disks.push(section);
    y = section.y + SIZES.disk.heading / 2 + section.rows.length * SIZES.image.row;
  }
  const legendTop = y + legend.before;
  const width = Math.max(gutter + nodes.length * lane, legend.width) + 2 * margin;
  return { width, height: legendTop + legend.height + margin, nodes, disks, legend: legendTop };
}

/**
 * Gives each node a lane. A first child is in its parent's row, each further child in a new row below everything to its
 * left.
 */
function placeNodes(snapshots: readonly SnapshotOnDisk[]): readonly SnapshotNode[] {
  const { margin, gutter, header, lane, node } = SIZES;
  const current = snapshots.find((snapshot) => snapshot.current)?.name;
  const now = { name: NOW, creationTime: LATEST, ...(current !== undefined && { parent: current }) };
  const branches: readonly Branch<SnapshotOnDisk | typeof now>[] = forest<SnapshotOnDisk | typeof now>([
    ...snapshots,
    now,
  ]);
  const nodes: SnapshotNode[] = [];
  const rows: number[] = [];
  branches.forEach(({ item, parent }, index) => {
    const isFirstChild = parent !== undefined && parent === index - 1;
    rows.push(isFirstChild ? (rows[parent] ?? 0) : Math.max(-1, ...rows) + 1);
    nodes.push({
      x: margin + gutter + index * lane + (lane - node.width) / 2,
      y: margin + header + (rows[index] ?? 0) * node.row,
      ...{ width: node.width, height: node.height, lane: index },
      snapshot: 'state' in item ? item : undefined,
      parent: parent === undefined ? undefined : nodes[parent],
    });
  });
  return nodes;
}

function placeDisk({ target, images, active }: ImagesOfDisk, nodes: readonly SnapshotNode[], y: number): DiskSection {
  const { margin, gutter, image: size, disk } = SIZES;
  const branches = forest(
    images.map((image) => ({
      ...{ name: image.path, creationTime: image.begun, image },
      ...(image.info?.backing && { parent: image.info.backing.path }),
    })),
  );
  const rows: ImageRow[] = [];
  branches.forEach(({ item, depth, parent }, index) => {
    const indent = Math.min(depth, size.maxIndent) * size.indent;
    const box = {
      x: margin + indent,
      y: y + disk.heading / 2 + index * size.row,
      width: gutter - indent - size.indent,
      height: size.height,
    };
    const marks = nodes.flatMap((node) => {
      const kind = markOf(item.image, target, node, active);
      return kind ? placeMark(kind, node, box) : [];
    });
    rows.push({ ...box, image: item.image, backing: parent === undefined ? undefined : rows[parent], marks });
  });
  return { target, y, rows };
}

function markOf(
  { path }: FoundImage,
  target: string,
  { snapshot }: SnapshotNode,
  active: string | undefined,
): MarkKind | undefined {
  if (!snapshot) return path === active ? 'writes' : undefined;
  const disk = snapshot.disks.find((captured) => captured.target === target);
  if (disk?.overlay?.path === path) return 'begins';
  if (disk?.image.path !== path) return undefined;
  return disk.overlay ? 'frozen' : 'inside';
}

function placeMark(kind: MarkKind, node: SnapshotNode, row: Box): ImageMark {
  const { width, height } = SIZES.mark;
  const x = node.x + (node.width - width) / 2;
  return { kind, node, x, y: row.y + (row.height - height) / 2, width, height };
}
