/** Collects the facts about a domain and its snapshots: from the daemon, and from the files that they name. */

import { stat } from 'node:fs/promises';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainRef, DomainState } from '../../model/domain.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { isExternal, memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { isMissing } from '../../store/atomic-file.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { diskImages, parseDefinition } from '../../xml/domain/definition.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import { readSnapshot } from '../../xml/snapshot/read.ts';

/** The unit of st_blocks, which does not depend on the file system (stat(2)). */
export const STAT_BLOCK_BYTES = 512;

/**
 * internal   RAM in the daemon's folder, disks inside their images
 * external   RAM or disks in files of their own
 * disk-only  disks of a domain that ran, without its RAM
 * offline    disks of a domain that was off, inside their images
 */
export type SnapshotKind = 'internal' | 'external' | 'disk-only' | 'offline';

/** A disk's part in a snapshot. */
export interface CapturedDisk {
  /** `xvda`. */
  readonly target: string;
  /** The image that holds the captured contents. */
  readonly image: DiskImage;
  /** The overlay that became active; absent if the snapshot is inside the image. */
  readonly overlay?: Overlay;
  /** The same as a libxl struct. */
  readonly part: LibxlDiskSnapshot;
}

/**
 * An overlay that a snapshot has created. The snapshot is complete without it: a revert removes the overlay that it
 * abandons.
 */
interface Overlay extends DiskImage, StoredFile {
  readonly removed: boolean;
}

/** A file that belongs to a snapshot. */
export interface StoredFile {
  readonly path: string;
  /** Allocated bytes; undefined if the file is missing or cannot be read. */
  readonly allocatedBytes: number | undefined;
}

/** A snapshot with its files. */
export interface SnapshotOnDisk {
  readonly name: string;
  readonly parent?: string;
  readonly creationTime: bigint;
  readonly state: SnapshotDef['state'];
  readonly kind: SnapshotKind;
  readonly current: boolean;
  readonly memory?: StoredFile;
  readonly disks: readonly CapturedDisk[];
  /** All overlays that were made on its images, by it and by reverts to it. */
  readonly overlays: readonly DiskImage[];
}

/** A domain with its snapshots and images. */
export interface DomainFacts {
  readonly domain: DomainRef;
  readonly state: DomainState;
  readonly snapshots: readonly SnapshotOnDisk[];
  /** The active images by target; disks without a local image are left out. */
  readonly images: ReadonlyMap<string, DiskImage>;
}

/** Collects the facts. `memoryDir`: folder of internal memory. Rejects if a snapshot is deleted at the same time. */
export async function domainFacts(client: RpcClient, domain: DomainRef, memoryDir: string): Promise<DomainFacts> {
  const { snapshots } = client;
  const [state, xml, refs, hasCurrent] = await Promise.all([
    client.getState(domain),
    client.getXMLDesc(domain, 0),
    snapshots.listAll(domain, 0),
    snapshots.hasCurrent(domain, 0),
  ]);
  const current = hasCurrent ? (await snapshots.current(domain, 0)).name : undefined;
  const documents = await Promise.all(refs.map((ref) => snapshots.getXMLDesc(ref, 0)));
  const facts = documents.map(async (document) => {
    const { snapshot } = readSnapshot(document, { internal: false });
    return await onDisk(domain, snapshot, { current: snapshot.name === current, memoryDir });
  });
  return { domain, state, snapshots: await Promise.all(facts), images: diskImages(parseDefinition(xml).disks, 'disk') };
}

async function onDisk(
  domain: DomainRef,
  snapshot: SnapshotDef,
  { current, memoryDir }: { readonly current: boolean; readonly memoryDir: string },
): Promise<SnapshotOnDisk> {
  const { name, parent, creationTime, state } = snapshot;
  const path = memoryPathOf(snapshot, new MemoryFiles(memoryDir).path(domain, name));
  return {
    ...{ name, creationTime, state, current },
    ...(parent !== undefined && { parent }),
    kind: kindOf(snapshot),
    ...(path !== undefined && { memory: await storedFile(path) }),
    disks: (await Promise.all(capturedDisks(snapshot).map((part) => captured(snapshot, part)))).flat(),
    overlays: [...snapshot.disks, ...snapshot.revertDisks].flatMap(({ location, target }) =>
      location === 'external' && target?.path !== undefined
        ? [{ path: target.path, format: target.format ?? 'qcow2' }]
        : [],
    ),
  };
}

/** Returns the kind of a snapshot. */
export function kindOf(snapshot: Pick<SnapshotDef, 'state' | 'memory' | 'disks'>): SnapshotKind {
  if (snapshot.state === 'disk-snapshot') return 'disk-only';
  if (isExternal(snapshot)) return 'external';
  return snapshot.memory.location === 'internal' ? 'internal' : 'offline';
}

async function storedFile(path: string): Promise<StoredFile> {
  const found = await stat(path).catch(() => undefined);
  return { path, allocatedBytes: found && found.blocks * STAT_BLOCK_BYTES };
}

async function overlayAt(path: string, format: string): Promise<Overlay> {
  const removed = await stat(path).then(() => false, isMissing);
  return { path, format, removed, allocatedBytes: removed ? 0 : (await storedFile(path)).allocatedBytes };
}

/** Returns the bytes of the snapshot's own files: its memory and its overlays. Undefined if one cannot be read. */
export function ownBytes({ memory, disks }: Pick<SnapshotOnDisk, 'memory' | 'disks'>): number | undefined {
  const files = [memory, ...disks.map(({ overlay }) => overlay)].filter((file) => file !== undefined);
  return sumOf(files.map(({ allocatedBytes }) => allocatedBytes));
}

/** Returns undefined if one of the sizes is. */
export function sumOf(sizes: readonly (number | undefined)[]): number | undefined {
  return sizes.reduce((sum, size) => (sum === undefined || size === undefined ? undefined : sum + size), 0);
}

/** Returns nothing for a disk without a local image. */
async function captured({ domain, disks }: SnapshotDef, part: LibxlDiskSnapshot): Promise<readonly CapturedDisk[]> {
  const target = part.disk.vdev;
  const image = domain && diskImages(domain.disks, 'disk').get(target);
  if (!image) return [];
  const { external_path: path } = part;
  if (path === undefined) return [{ target, image, part }];
  const format = disks.find(({ name }) => name === target)?.target?.format ?? 'qcow2';
  return [{ target, image, part, overlay: await overlayAt(path, format) }];
}
