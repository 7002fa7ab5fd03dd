/** `xlsnap du`: the disk space of a domain's snapshots, without guessing what cannot be known. */

import { aloneBytes, imageInfo } from '../../disks/qemu/image-info.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { type Cell, type Column, columns, hasColour } from '../terminal/columns.ts';
import { formatBytes } from '../terminal/quantities.ts';
import { foldersOf, MEMORY_DIR } from './daemon-folders.ts';
import { imagesOfDisks } from './disk-images.ts';
import { type CapturedDisk, domainFacts, type SnapshotOnDisk, type StoredFile, sumOf } from './domain-facts.ts';

/**
 * A disk's part of a snapshot: an overlay, or a snapshot inside the image. Sizes are undefined if they cannot be read.
 */
type DiskUse = { readonly target: string; readonly path: string } & (
  | { readonly kind: 'layer'; readonly bytes: number | undefined }
  | {
      readonly kind: 'inside';
      /** Memory inside the image, by QEMU's table; Xen keeps it elsewhere. */
      readonly vmStateBytes: number | undefined;
      /** Size of the contents in an image of their own. */
      readonly aloneBytes: number | undefined;
    }
);

interface SnapshotUse {
  readonly name: string;
  readonly memory?: StoredFile;
  readonly disks: readonly DiskUse[];
}

const SNAPSHOTS: readonly Column[] = [
  { title: 'Snapshot' },
  { title: 'Memory', right: true },
  { title: 'Layers', right: true },
  { title: 'Alone', right: true },
];

const IMAGES: readonly Column[] = [{ title: 'Disk' }, { title: 'Image' }, { title: 'Size', right: true }];

const NOTE =
  'Memory and layers are files of the snapshot alone. Snapshots inside an image share its clusters with each\n' +
  'other and with the disk: the space that deleting one of them frees cannot be known before. Alone is the size\n' +
  'of the disks of such a snapshot in images of their own.\n';

const UNSEEN = '?';
const UNSEEN_NOTE = `${UNSEEN}: cannot be read. Root can read all.\n`;

/** `xlsnap du`. */
export const DU = command({
  description: 'Prints for every snapshot the size of its RAM, of the layers it has created, and of its disks alone.',
  options: [DOMAIN, JSON_OPTION, MEMORY_DIR],
  async run(values, session) {
    const { memoryDir } = await foldersOf(values, session);
    const facts = await domainFacts(await session.client(), await session.domain(values.domain), memoryDir);
    const uses: SnapshotUse[] = [];
    for (const snapshot of facts.snapshots) uses.push(await snapshotUse(snapshot));
    const images = (await imagesOfDisks(facts)).flatMap(({ target, images }) =>
      images.map(({ path, info }) => ({ target, path, bytes: info?.allocatedBytes })),
    );
    const memoryBytes = sumOf(uses.map(({ memory }) => (memory ? memory.allocatedBytes : 0)));
    const imageBytes = sumOf([...new Map(images.map(({ path, bytes }) => [path, bytes])).values()]);
    if (values.json) {
      session.json(withNulls({ domain: facts.domain.name, snapshots: uses, images, memoryBytes, imageBytes }));
      return;
    }
    const options = { quiet: session.quiet, colour: hasColour() };
    const imageRows = images.map(({ target, path, bytes }) => [target, path, size(bytes)].map((text) => ({ text })));
    const tables = `${columns(SNAPSHOTS, uses.map(snapshotRow), options)}\n${columns(IMAGES, imageRows, options)}`;
    session.draw(
      `${tables}\nMemory of all snapshots: ${size(memoryBytes)}, images of all disks: ${size(imageBytes)}\n`,
    );
    session.extra(`\n${NOTE}${tables.includes(UNSEEN) ? UNSEEN_NOTE : ''}`);
  },
});

async function snapshotUse({ name, memory, disks }: SnapshotOnDisk): Promise<SnapshotUse> {
  const uses: DiskUse[] = [];
  for (const disk of disks) uses.push(await diskUse(name, disk));
  return { name, ...(memory && { memory }), disks: uses };
}

async function diskUse(name: string, { target, image, overlay }: CapturedDisk): Promise<DiskUse> {
  if (overlay) return { target, path: overlay.path, kind: 'layer', bytes: overlay.allocatedBytes };
  const place = { target, path: image.path, kind: 'inside' } as const;
  try {
    const inside = (await imageInfo(image)).snapshots.find((snapshot) => snapshot.name === name);
    if (inside) return { ...place, vmStateBytes: inside.vmStateBytes, aloneBytes: await aloneBytes(image, inside) };
  } catch {
    // Shown as unknown; `verify` reports what is wrong with an image.
  }
  return { ...place, vmStateBytes: undefined, aloneBytes: undefined };
}

function snapshotRow({ name, memory, disks }: SnapshotUse): readonly Cell[] {
  const layers = disks.flatMap((disk) => (disk.kind === 'layer' ? [disk.bytes] : []));
  const alone = disks.flatMap((disk) => (disk.kind === 'inside' ? [disk.aloneBytes] : []));
  const total = (sizes: readonly (number | undefined)[]): string => (sizes.length > 0 ? size(sumOf(sizes)) : '-');
  const texts = [name, total(memory ? [memory.allocatedBytes] : []), total(layers), total(alone)];
  return texts.map((text) => ({ text }));
}

function size(bytes: number | undefined): string {
  return bytes === undefined ? UNSEEN : formatBytes(bytes);
}

/** Turns undefined into null for JSON, which would leave it out. */
function withNulls(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, each) => (each === undefined ? null : each)));
}
