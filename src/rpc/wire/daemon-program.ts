/**
 * xlsnapd's own RPC program, by which `xlsnap` asks the daemon for its status, protects and lists snapshots, and checks new ones. libvirt's clients never
 * call it; a libvirtd refuses it with "Cannot find program", and the connection stays open.
 */

import type { DaemonStatus, MechanismName } from '../../model/daemon-status.ts';
import type { SnapshotRow } from '../../model/snapshot.ts';
import { bool, type Codec, hyper, list, name, nothing, optional, string, struct, uint } from './codec.ts';
import { PROGRAM } from './frames.ts';
import { domain, snapshot } from './messages.ts';
import { type TypedParam, typedParams } from './typed-params.ts';

/** A status may get more fields: a client of today skips those that it does not know. */
const FIELDS_MAX = 64;

const params = typedParams(FIELDS_MAX);

/** Names on the wire; those of folders are xlsnapd's options. */
const FIELDS: Readonly<Record<keyof DaemonStatus, string>> = {
  version: 'version',
  mechanism: 'mechanism',
  reason: 'reason',
  snapshotDir: 'snapshot-dir',
  memoryDir: 'memory-dir',
  stateDir: 'state-dir',
};

const KEYS = Object.keys(FIELDS) as (keyof DaemonStatus)[];

const statusParams: Codec<DaemonStatus> = {
  max: params.max,
  write: (writer, status) =>
    params.write(
      writer,
      KEYS.map((key): TypedParam => ({ field: FIELDS[key], type: 'string', value: status[key] })),
    ),
  read: (reader) => {
    const values = new Map(params.read(reader).map(({ field, value }) => [field, `${value}`]));
    const [version = '', mechanism = '', reason = '', snapshotDir = '', memoryDir = '', stateDir = ''] = KEYS.map(
      (key) => values.get(FIELDS[key]),
    );
    return { version, mechanism: mechanism as MechanismName, reason, snapshotDir, memoryDir, stateDir };
  },
};

const rowFields = struct({ name, parent: optional(name), state: string, creationTime: hyper });

const program = PROGRAM.XLSNAP;

/** The procedures. No connection may call one before CONNECT_OPEN has succeeded. */
export const DAEMON_STATUS = { program, number: 1, args: nothing, result: statusParams } as const;
/** `on`: protects the snapshot from being deleted; else ends that. */
export const SNAPSHOT_SET_PROTECTED = {
  program,
  number: 2,
  args: struct({ snapshot, on: bool }),
  result: nothing,
} as const;
/** The names of the domain's protected snapshots. */
export const DOMAIN_LIST_PROTECTED = {
  program,
  number: 3,
  args: struct({ domain }),
  result: struct({ names: list(name) }),
} as const;

const row: Codec<SnapshotRow> = {
  ...rowFields,
  read: (reader) => {
    const { parent, state, ...rest } = rowFields.read(reader);
    return { ...rest, state: state as SnapshotRow['state'], ...(parent !== null && { parent }) };
  },
  write: (writer, { name, parent = null, state, creationTime }) =>
    rowFields.write(writer, { name, parent, state, creationTime }),
};

/** What a list shows of a domain's snapshots, without a document for each. */
export const DOMAIN_LIST_SNAPSHOT_ROWS = {
  program,
  number: 5,
  args: struct({ domain }),
  result: struct({ rows: list(row) }),
} as const;

/** virDomainSnapshotCreateXML that changes nothing; returns the document. */
export const SNAPSHOT_CHECK_CREATE = {
  program,
  number: 4,
  args: struct({ domain, xml: string, flags: uint }),
  result: struct({ value: string }),
} as const;

/** The procedures that read-only connections may call. */
export const READING: ReadonlySet<number> = new Set([
  DAEMON_STATUS.number,
  DOMAIN_LIST_PROTECTED.number,
  DOMAIN_LIST_SNAPSHOT_ROWS.number,
]);
/** The others, as a refusal names them. */
export const REFUSED_READ_ONLY: ReadonlyMap<number, string> = new Map([
  [SNAPSHOT_SET_PROTECTED.number, 'changing which snapshots are protected'],
  [SNAPSHOT_CHECK_CREATE.number, 'checking a new snapshot'],
]);
