/** The snapshot as libvirt describes it (virDomainSnapshotDef): read from XML, written to XML, stored. */

import type { DomainState, SnapshotLocation, StorageType } from './domain.ts';
import type { XmlElement } from './element.ts';

/** A domain's state when the snapshot was taken; `disk-snapshot` is libvirt's extra one for disks of an active domain. */
export type SnapshotState = DomainState | 'disk-snapshot';

/** `<memory snapshot= file=>`. A file is there exactly when the location is external. */
export type MemorySnapshot =
  | { readonly location: 'default' | 'no' | 'internal' }
  | { readonly location: 'external'; readonly file: string };

/** Where an external snapshot's new layer lies, or the bare format where only that was given. */
export interface DiskTarget {
  readonly type: StorageType;
  /** `driver/@type`. */
  readonly format?: string;
  /** `driver/metadata_cache/max_size`, bytes. */
  readonly metadataCacheMaxSize?: bigint;
  /** `@file` of type file, `@dev` of type block, the name of a network source without its pool or volume. */
  readonly path?: string;
  /** The normalised `<source>` element, where it says more than `path` of type file or block (all types, incl. children). */
  readonly source?: XmlElement;
}

/** One `<disk>` of `<disks>` or `<revertDisks>`. `target` is there when a path, a format or a type other than file was given. */
export interface DiskSnapshot {
  /** Target name once aligned; as the user wrote it before (a path is allowed then). */
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
  readonly domain?: XmlElement;
  /** The persistent definition, where the domain was active and had one; its root is named `domain` too. */
  readonly inactiveDomain?: XmlElement;
}

/** What a client asks for: the same document before the domain's facts are filled in. */
export interface SnapshotRequest {
  readonly name: string;
  readonly description?: string;
  readonly creationTime: bigint;
  readonly memory: MemorySnapshot;
  readonly disks: readonly DiskSnapshot[];
}

/** External = its memory or any disk is (libvirt's VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL). */
export function isExternal(snapshot: Pick<SnapshotDef, 'memory' | 'disks'>): boolean {
  return snapshot.memory.location === 'external' || snapshot.disks.some((disk) => disk.location === 'external');
}

/** What is kept in memory of a snapshot: enough for every list, without its definitions. */
export interface SnapshotEntry {
  readonly name: string;
  readonly parent?: string;
  readonly state: SnapshotState;
  readonly creationTime: bigint;
  readonly memory: MemorySnapshot;
  readonly disks: SnapshotDef['disks'];
}

export function entryOf({ name, parent, state, creationTime, memory, disks }: SnapshotDef): SnapshotEntry {
  return { name, ...(parent !== undefined && { parent }), state, creationTime, memory, disks };
}
