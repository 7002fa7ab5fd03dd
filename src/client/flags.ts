/** libvirt's bits of the options that a caller gives by name. */

import { CREATE, DELETE, LIST, REVERT } from '../model/flags.ts';
import type { CreateFlags, DeleteRequest, RevertRequest, SnapshotFilter } from './api.ts';

type Bits<T> = Readonly<Record<keyof T, number>>;

const CREATE_BITS: Bits<CreateFlags> = {
  redefine: CREATE.REDEFINE,
  current: CREATE.CURRENT,
  noMetadata: CREATE.NO_METADATA,
  halt: CREATE.HALT,
  diskOnly: CREATE.DISK_ONLY,
  reuseExternal: CREATE.REUSE_EXT,
  quiesce: CREATE.QUIESCE,
  atomic: CREATE.ATOMIC,
  live: CREATE.LIVE,
  validate: CREATE.VALIDATE,
};

const LIST_BITS: Bits<SnapshotFilter & { descendants?: boolean }> = {
  roots: LIST.ROOTS,
  descendants: LIST.DESCENDANTS,
  leaves: LIST.LEAVES,
  noLeaves: LIST.NO_LEAVES,
  metadata: LIST.METADATA,
  noMetadata: LIST.NO_METADATA,
  inactive: LIST.INACTIVE,
  active: LIST.ACTIVE,
  diskOnly: LIST.DISK_ONLY,
  internal: LIST.INTERNAL,
  external: LIST.EXTERNAL,
  topological: LIST.TOPOLOGICAL,
};

const REVERT_BITS: Bits<Omit<RevertRequest, 'force'>> = {
  running: REVERT.RUNNING,
  paused: REVERT.PAUSED,
  resetNvram: REVERT.RESET_NVRAM,
};

const DELETE_BITS: Bits<DeleteRequest> = {
  children: DELETE.CHILDREN,
  childrenOnly: DELETE.CHILDREN_ONLY,
  metadataOnly: DELETE.METADATA_ONLY,
};

function bitsOf(options: object, bits: Readonly<Record<string, number>>): number {
  const given = options as Readonly<Record<string, unknown>>;
  return Object.entries(bits).reduce((flags, [name, bit]) => (given[name] ? flags | bit : flags), 0);
}

export const createFlags = (options: CreateFlags): number => bitsOf(options, CREATE_BITS);
export const listFlags = (filter: SnapshotFilter & { descendants?: boolean }): number => bitsOf(filter, LIST_BITS);
export const revertFlags = (request: RevertRequest): number => bitsOf(request, REVERT_BITS);
export const deleteFlags = (request: DeleteRequest): number => bitsOf(request, DELETE_BITS);
