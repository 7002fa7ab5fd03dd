/**
 * Draws a domain's snapshots as one SVG file: without scripts or external files, light or dark as its reader prefers.
 */

import { element, type XmlElement } from '../../model/element.ts';
import { writeElement } from '../../xml/engine/write.ts';
import type { ImagesOfDisk } from '../storage/disk-images.ts';
import { type DomainFacts, ownBytes, type SnapshotOnDisk } from '../storage/domain-facts.ts';
import { formatBytes } from '../terminal/quantities.ts';
import { baseName, fitted, label, path, rectangle, type TextStyle, textWidth } from './picture-elements.ts';
import {
  type Box,
  type DiskSection,
  type ImageMark,
  type ImageRow,
  type Layout,
  layOut,
  type MarkKind,
  SIZES,
  type SnapshotNode,
} from './picture-layout.ts';
import { STYLE } from './picture-style.ts';

const MARK_WORDS: Readonly<Record<MarkKind, string>> = {
  inside: 'inside',
  frozen: 'frozen',
  begins: 'begins',
  writes: 'writes now',
};

const LEGEND: readonly (readonly [MarkKind, string])[] = [
  ['inside', 'snapshot inside the image'],
  ['frozen', 'image kept as it was'],
  ['begins', 'new layer over it'],
  ['writes', 'what the domain writes to'],
];

/** Returns the picture as an SVG document. */
export function snapshotPicture(facts: DomainFacts, images: readonly ImagesOfDisk[]): string {
  const layout = layOut(facts, images);
  const { width, height } = layout;
  const root = {
    xmlns: 'http://www.w3.org/2000/svg',
    viewBox: `0 0 ${width} ${height}`,
    ...{ width: String(width), height: String(height) },
    ...{ role: 'img', 'aria-labelledby': 'title desc', lang: 'en' },
  };
  const parts = [
    element('title', { id: 'title' }, [titleOf(facts)]),
    element('desc', { id: 'desc' }, [description(facts, images)]),
    element('style', {}, [STYLE]),
    rectangle({ x: 0, y: 0, width, height }, 'paper'),
    ...lanes(layout),
    ...heading(facts),
    ...layout.nodes.flatMap(edge),
    ...layout.nodes.map((node) => nodeGroup(node, facts)),
    ...layout.disks.flatMap((disk) => diskGroup(disk, layout)),
    ...legend(layout),
  ];
  return writeElement(element('svg', root, parts));
}

function titleOf({ domain }: DomainFacts): string {
  return `Snapshots of domain ${domain.name}`;
}

/** Describes the whole picture in sentences. */
function description({ state, snapshots, domain }: DomainFacts, images: readonly ImagesOfDisk[]): string {
  const sentences = snapshots.map(({ name, parent, kind, state: was, current, creationTime }) => {
    const from = parent === undefined ? '' : `, child of ${parent}`;
    return `${name}: ${kind}, ${was}${from}, taken ${dateOf(creationTime)}${current ? ', the current one' : ''}.`;
  });
  const writes = images.flatMap(({ target, active }) =>
    active === undefined ? [] : [`Disk ${target} is written to ${active}.`],
  );
  return [`Domain ${domain.name} is ${state} and has ${countOf(snapshots)}.`, ...sentences, ...writes].join(' ');
}

function countOf(snapshots: readonly SnapshotOnDisk[]): string {
  return snapshots.length === 1 ? '1 snapshot' : `${snapshots.length} snapshots`;
}

function dateOf(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace('T', ' ');
}

function heading({ domain, state, snapshots }: DomainFacts): readonly XmlElement[] {
  const { margin, gutter } = SIZES;
  return [
    label(fitted(domain.name, 'title', gutter), margin, margin + 22, 'title'),
    label(`${state}, ${countOf(snapshots)}`, margin, margin + 44, 'detail'),
    label('* is the current one; times are UTC', margin, margin + 60, 'detail'),
  ];
}

/** Bands behind every second lane, and a dotted line from each snapshot down to the last image it is in. */
function lanes({ nodes, disks, legend: bottom }: Layout): readonly XmlElement[] {
  const { margin, gutter, lane, header } = SIZES;
  const top = margin + header - 12;
  return nodes.flatMap((node) => {
    const band = { x: margin + gutter + node.lane * lane, y: top, width: lane, height: bottom - top - 12 };
    const marks = disks.flatMap(({ rows }) => rows.flatMap((row) => row.marks)).filter((mark) => mark.node === node);
    const last = marks.at(-1);
    const x = node.x + node.width / 2;
    return [
      ...(node.lane % 2 === 0 ? [rectangle(band, 'band')] : []),
      ...(last ? [path(`M${x} ${node.y + node.height}V${last.y}`, 'thread')] : []),
    ];
  });
}

/** From the parent to the right, or down out of its left part and then to the right. */
function edge(node: SnapshotNode): readonly XmlElement[] {
  const { parent } = node;
  if (!parent) return [];
  const style = node.snapshot ? 'edge' : 'edge now';
  const middle = node.y + node.height / 2;
  if (parent.y === node.y) return [path(`M${parent.x + parent.width} ${middle}H${node.x}`, style)];
  const x = parent.x + 20;
  return [path(`M${x} ${parent.y + parent.height}V${middle - 10}Q${x} ${middle} ${x + 10} ${middle}H${node.x}`, style)];
}

function nodeGroup(node: SnapshotNode, facts: DomainFacts): XmlElement {
  const { snapshot, x, y, width, height } = node;
  const text = (content: string, line: number, style: TextStyle, after = ''): XmlElement => {
    const room = width - 24 - textWidth(after, style);
    return label(fitted(content, style, room) + after, x + 14, y + 20 + line * 17, style);
  };
  if (!snapshot) {
    return element('g', { class: 'node now' }, [
      element('title', {}, [`Domain ${facts.domain.name} as it is now: ${facts.state}`]),
      rectangle(node, 'card', 8),
      text('now', 0, 'name'),
      text(facts.state, 1, 'detail'),
    ]);
  }
  const { name, kind, state, current, creationTime } = snapshot;
  const bytes = ownBytes(snapshot);
  const size = bytes === undefined ? 'size unknown' : formatBytes(bytes);
  const what = kind === 'disk-only' || kind === 'offline' ? kind : `${kind}, ${state}`;
  return element('g', { class: `node ${kind}${current ? ' current' : ''}` }, [
    element('title', {}, [`${name}${current ? ' (current)' : ''}: ${kind}, ${state}, ${size}`]),
    rectangle(node, 'card', 8),
    rectangle({ x, y: y + 8, width: 4, height: height - 16 }, 'kind', 2),
    text(name, 0, 'name', current ? ' *' : ''),
    text(what, 1, 'detail'),
    text(dateOf(creationTime), 2, 'detail'),
  ]);
}

function diskGroup({ target, y, rows }: DiskSection, { nodes }: Layout): readonly XmlElement[] {
  const { margin, gutter, lane } = SIZES;
  const right = margin + gutter + nodes.length * lane;
  return [
    path(`M${margin} ${y - 18}H${right}`, 'rule'),
    label(`disk ${target}`, margin, y, 'name'),
    ...rows.flatMap(chainLine),
    ...rows.flatMap(imageGroup),
  ];
}

/** Draws the line from an image to its overlay; beyond the deepest indent only the text says so. */
function chainLine({ x, y, height, backing }: ImageRow): readonly XmlElement[] {
  if (!backing || backing.x === x) return [];
  return [path(`M${backing.x + 8} ${backing.y + backing.height}V${y + height / 2}H${x}`, 'chain')];
}

function imageGroup(row: ImageRow): readonly XmlElement[] {
  const { image, backing, x, y, width, height, marks } = row;
  const { info, path: file, format, problem } = image;
  const isActive = marks.some(({ kind }) => kind === 'writes');
  const size = info ? `, ${formatBytes(info.allocatedBytes)}` : ', cannot be read';
  const on = info?.backing ? `, on ${baseName(info.backing.path)}` : '';
  const last = marks.at(-1);
  const middle = y + height / 2;
  const style = `image${isActive ? ' active' : ''}${info ? '' : ' broken'}`;
  return [
    ...(last ? [path(`M${x + width} ${middle}H${last.x}`, 'life')] : []),
    element('g', { class: style }, [
      element('title', {}, [`${file}: ${format}${size}${on}${problem === undefined ? '' : ` (${problem})`}`]),
      rectangle(row, 'card', 6),
      label(fitted(baseName(file), 'name', width - 20), x + 10, y + 17, 'name'),
      label(fitted(`${format}${size}${backing?.x === x ? on : ''}`, 'detail', width - 20), x + 10, y + 33, 'detail'),
    ]),
    ...marks.map(markGroup),
  ];
}

function markGroup(mark: ImageMark): XmlElement {
  const { kind, node } = mark;
  const title = element('title', {}, [`${node.snapshot?.name ?? 'now'}: ${MARK_WORDS[kind]}`]);
  return element('g', { class: `mark ${kind}` }, [title, ...pill(mark, kind)]);
}

/** Draws the four marks with their meanings. */
function legend({ legend: top }: Layout): readonly XmlElement[] {
  const { margin, mark, legend: place } = SIZES;
  return LEGEND.flatMap(([kind, meaning], at) => {
    const x = margin + (at % 2) * place.column;
    const y = top + Math.floor(at / 2) * place.row;
    return [
      element('g', { class: `mark ${kind}` }, pill({ x, y, ...mark }, kind)),
      label(meaning, x + mark.width + 8, y + 16, 'detail'),
    ];
  });
}

function pill(box: Box, kind: MarkKind): readonly XmlElement[] {
  const { x, y, width } = box;
  const middle = { x: String(x + width / 2), y: String(y + 16), 'text-anchor': 'middle' };
  return [rectangle(box, 'pill', 12), element('text', { class: 'detail', ...middle }, [MARK_WORDS[kind]])];
}
