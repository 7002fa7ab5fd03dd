/** The picture of a domain's snapshots as one SVG file: no scripts, nothing loaded, light or dark as its reader prefers. */

import { element, type XmlElement } from '../model/element.ts';
import { writeElement } from '../xml/write.ts';
import type { DiskImages } from './disk-images.ts';
import { displayWidth } from './display-width.ts';
import { type DomainFacts, ownBytes, type SnapshotFacts } from './domain-facts.ts';
import { formatBytes } from './quantities.ts';
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
} from './svg-layout.ts';
import { STYLE } from './svg-style.ts';

/** Advance of a character of the fixed-width font, by font size: what DejaVu Sans Mono has, the widest in common use. */
const ADVANCE = 0.602;
const FONT = { title: 18, name: 13, detail: 11 } as const;

export const MARK_WORDS: Readonly<Record<MarkKind, string>> = {
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

export function snapshotPicture(facts: DomainFacts, images: readonly DiskImages[]): string {
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

/** The whole picture in sentences. */
function description({ state, snapshots, domain }: DomainFacts, images: readonly DiskImages[]): string {
  const sentences = snapshots.map(({ name, parent, kind, state: was, current, creationTime }) => {
    const from = parent === undefined ? '' : `, child of ${parent}`;
    return `${name}: ${kind}, ${was}${from}, taken ${dateOf(creationTime)}${current ? ', the current one' : ''}.`;
  });
  const writes = images.flatMap(({ target, active }) =>
    active === undefined ? [] : [`Disk ${target} is written to ${active}.`],
  );
  return [`Domain ${domain.name} is ${state} and has ${countOf(snapshots)}.`, ...sentences, ...writes].join(' ');
}

function countOf(snapshots: readonly SnapshotFacts[]): string {
  return snapshots.length === 1 ? '1 snapshot' : `${snapshots.length} snapshots`;
}

function dateOf(seconds: bigint): string {
  return new Date(Number(seconds) * 1000).toISOString().slice(0, 16).replace('T', ' ');
}

function heading({ domain, state, snapshots }: DomainFacts): readonly XmlElement[] {
  const { margin, gutter } = SIZES;
  return [
    label(fitted(domain.name, FONT.title, gutter), margin, margin + 22, 'title'),
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
  const text = (content: string, line: number, style: 'name' | 'detail', after = ''): XmlElement => {
    const room = width - 24 - displayWidth(after) * FONT[style] * ADVANCE;
    return label(fitted(content, FONT[style], room) + after, x + 14, y + 20 + line * 17, style);
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

/** From an image down to a layer over it; beyond the deepest indent the words alone say so. */
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
      label(fitted(baseName(file), FONT.name, width - 20), x + 10, y + 17, 'name'),
      label(fitted(`${format}${size}${backing?.x === x ? on : ''}`, FONT.detail, width - 20), x + 10, y + 33, 'detail'),
    ]),
    ...marks.map(markGroup),
  ];
}

function markGroup(mark: ImageMark): XmlElement {
  const { kind, node, x, y, width } = mark;
  return element('g', { class: `mark ${kind}` }, [
    element('title', {}, [`${node.snapshot?.name ?? 'now'}: ${MARK_WORDS[kind]}`]),
    rectangle(mark, 'pill', 12),
    element('text', { class: 'detail', x: String(x + width / 2), y: String(y + 16), 'text-anchor': 'middle' }, [
      MARK_WORDS[kind],
    ]),
  ]);
}

/** Four marks, and what each means, in one line. */
function legend({ legend: y }: Layout): readonly XmlElement[] {
  const { margin, mark } = SIZES;
  const elements: XmlElement[] = [];
  let x: number = margin;
  for (const [kind, meaning] of LEGEND) {
    elements.push(
      element('g', { class: `mark ${kind}` }, [
        rectangle({ x, y, width: mark.width, height: mark.height }, 'pill', 12),
        element(
          'text',
          { class: 'detail', x: String(x + mark.width / 2), y: String(y + 16), 'text-anchor': 'middle' },
          [MARK_WORDS[kind]],
        ),
      ]),
      label(meaning, x + mark.width + 8, y + 16, 'detail'),
    );
    x += mark.width + 8 + displayWidth(meaning) * FONT.detail * ADVANCE + 24;
  }
  return elements;
}

/** The text, with its middle left out where it would not fit into so many pixels. */
export function fitted(text: string, fontSize: number, width: number): string {
  const room = Math.floor(width / (fontSize * ADVANCE));
  if (displayWidth(text) <= room) return text;
  const characters = [...text];
  let kept = characters.length;
  let shown = text;
  while (kept > 2 && displayWidth(shown) > room) {
    kept -= 1;
    const head = Math.ceil(kept / 2);
    shown = `${characters.slice(0, head).join('')}…${characters.slice(characters.length - (kept - head)).join('')}`;
  }
  return shown;
}

function baseName(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1);
}

function label(text: string, x: number, y: number, style: 'title' | 'name' | 'detail'): XmlElement {
  return element('text', { class: style, x: String(x), y: String(y) }, [text]);
}

function rectangle({ x, y, width, height }: Box, style: string, radius = 0): XmlElement {
  const size = { x: String(x), y: String(y), width: String(width), height: String(height) };
  return element('rect', { class: style, ...size, ...(radius > 0 && { rx: String(radius) }) });
}

function path(d: string, style: string): XmlElement {
  return element('path', { class: style, d });
}
