/** The snapshot as libvirt describes it (virDomainSnapshotDef), in the form that is read, written and stored. */

import type { DiskImage } from './disk-image.ts';
import type { DiskOnVolume, DomainDefinition, DomainState, SnapshotLocation, StorageType } from './domain.ts';
import type { XmlElement } from './element.ts';

/** A domain's state when the snapshot was taken; `disk-snapshot`: only the disks of an active domain. */
export type SnapshotState = DomainState | 'disk-snapshot';

/** `<memory snapshot= file=>`. It has a file exactly if the location is external. */
export type MemorySnapshot =
  | { readonly location: 'default' | 'no' | 'internal' }
  | { readonly location: 'external'; readonly file: string };

/** The new overlay of an external snapshot, or only its format if no path was given. */
export interface DiskTarget {
  readonly type: StorageType;
  /** `driver/@type`. */
  readonly format?: string;
  /** `driver/metadata_cache/max_size`, bytes. */
  readonly metadataCacheMaxSize?: bigint;
  /** `@file` of type file, `@dev` of type block, the name of a network source without its pool or volume. */
  readonly path?: string;
  /**
   * The normalised `<source>` element, if it holds more than `path` of type file or block (all types, incl. children).
   */
  readonly source?: XmlElement;
}

/**
 * One `<disk>` of `<disks>` or `<revertDisks>`. It has a `target` if a path, a format or a type other than file was
 * given.
 */
export interface DiskSnapshot {
  /** The target once aligned; before that, the user's text, which may be a path. */
  readonly name: string;
  readonly location: SnapshotLocation;
  readonly target?: DiskTarget;
  readonly deleteInProgress?: true;
}

/** A whole snapshot. */
export interface SnapshotDef {
  readonly name: string;
  readonly description?: string;
  readonly state: SnapshotState;
  readonly parent?: string;
  /** Seconds since the epoch, UTC. */
  readonly creationTime: bigint;
  readonly memory: MemorySnapshot;
  readonly disks: readonly DiskSnapshot[];
  readonly revertDisks: readonly DiskSnapshot[];
  /** The domain's full inactive definition at that moment; absent in old or foreign documents. */
  readonly domain?: DomainDefinition;
  /** The persistent definition, if the domain was active and had one; its root is named `domain`, too. */
  readonly inactiveDomain?: DomainDefinition;
}

/** A client's request: the same document before the domain's own data is filled in. */
export interface SnapshotRequest {
  readonly name: string;
  readonly description?: string;
  readonly creationTime: bigint;
  readonly memory: MemorySnapshot;
  readonly disks: readonly DiskSnapshot[];
  readonly unhonoured?: Unhonoured;
}

/** A part of a requested `<disk>` that no new overlay would have. */
export interface Unhonoured {
  readonly disk: string;
  /** In words for a message: `<encryption> in <source>`. */
  readonly part: string;
}

/** True if the memory or any disk is external (libvirt's VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL). */
export function isExternal(snapshot: Pick<SnapshotDef, 'memory' | 'disks'>): boolean {
  return snapshot.memory.location === 'external' || snapshot.disks.some((disk) => disk.location === 'external');
}

/** The part of a snapshot that is kept in memory: enough for every list, without its definitions. */
export interface SnapshotEntry {
  readonly name: string;
  readonly parent?: string;
  readonly state: SnapshotState;
  readonly creationTime: bigint;
  readonly memory: MemorySnapshot;
  readonly disks: SnapshotDef['disks'];
  /** The images that it needs: those of its definitions, and the overlays that were made on them. */
  readonly images: readonly DiskOfSnapshot[];
  /** The disks of its definitions whose images are volumes of storage pools. */
  readonly volumes: readonly DiskOnVolume[];
}

/** A snapshot as a list shows it. */
export type SnapshotRow = Pick<SnapshotEntry, 'name' | 'parent' | 'state' | 'creationTime'>;

/** `disk` is the target, `xvda`. */
export interface DiskOfSnapshot {
  readonly disk: string;
  readonly image: DiskImage;
}

/** Returns the part that is kept in memory. */
export function entryOf(snapshot: SnapshotDef): SnapshotEntry {
  const { name, parent, state, creationTime, memory, disks, domain, inactiveDomain } = snapshot;
  const images = imagesOf(snapshot);
  const volumes = [domain, inactiveDomain].flatMap((definition) => definition?.volumes ?? []);
  return { name, ...(parent !== undefined && { parent }), state, creationTime, memory, disks, images, volumes };
}

function imagesOf({ disks, revertDisks, domain, inactiveDomain }: SnapshotDef): readonly DiskOfSnapshot[] {
  const states = [domain, inactiveDomain].flatMap((definition) => [...(definition?.images ?? [])]);
  const overlays = [...disks, ...revertDisks].flatMap(({ name: disk, location, target }) =>
    location === 'external' && target?.path !== undefined
      ? [{ disk, image: { path: target.path, format: target.format ?? 'qcow2' } }]
      : [],
  );
  return [...states.map(([disk, image]) => ({ disk, image })), ...overlays];
}

/** The file that holds the snapshot's memory; undefined if it has none. `internal`: the path of its internal memory. */
export function memoryPathOf({ memory }: Pick<SnapshotDef, 'memory'>, internal: string): string | undefined {
  if (memory.location === 'external') return memory.file;
  return memory.location === 'internal' ? internal : undefined;
}

/**
 * What the disk images that a memory image names hold of its snapshot.
 *
 * holds     the snapshot's contents, or nobody can know: the memory image may still be needed
 * broken    other contents: the guest in the memory image can never continue on them
 * unknown   an image is missing or cannot be read: its file system may only be unmounted
 */
export type TieState = 'holds' | 'broken' | 'unknown';
