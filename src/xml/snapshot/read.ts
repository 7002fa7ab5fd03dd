/**
 * Reads `<domainsnapshot>` (virDomainSnapshotDefParse in src/conf/snapshot_conf.c): libvirt's checks in its order and
 * words.
 */

import { DOMAIN_STATES, type DomainDefinition } from '../../model/domain.ts';
import { childAt, textAt, textOf, type XmlElement } from '../../model/element.ts';
import {
  entryOf,
  type MemorySnapshot,
  type SnapshotDef,
  type SnapshotEntry,
  type SnapshotRequest,
  type SnapshotState,
} from '../../model/snapshot.ts';
import { withDefaults } from '../domain/defaults.ts';
import { definitionOf } from '../domain/definition.ts';
import { checkDefinition } from '../domain/domain.ts';
import { inactiveFormat } from '../domain/formats.ts';
import { parseXml } from '../engine/parse.ts';
import { enumAttribute, refusal, signedInteger } from '../engine/values.ts';
import { readDiskSnapshots, WRITTEN_LOCATIONS } from './disk-snapshot.ts';
import { findUnhonoured } from './unhonoured.ts';

/** Values that `<state>` may have; libvirt refuses `nostate`, too. */
const WRITTEN_STATES: readonly SnapshotState[] = [
  ...DOMAIN_STATES.filter((state) => state !== 'nostate'),
  'disk-snapshot',
];

/** States in which no memory can have been saved. */
const OFFLINE_STATES: readonly SnapshotState[] = ['shutoff', 'disk-snapshot'];

/**
 * Reads a client's request for a new snapshot. `offline`: the domain is not active, or only its disks are captured. Ignores
 * state, parent, time and definitions in the text; `now` (seconds) is the creation time, and the name if none is given.
 */
export function readSnapshotRequest(xml: string, options: { offline: boolean; now: bigint }): SnapshotRequest {
  const root = readRoot(xml);
  const name = textAt(root, 'name') ?? String(options.now);
  const description = textAt(root, 'description');
  const memory = readMemory(root, { offline: options.offline, implied: 'default' });
  const disks = readDiskSnapshots(root, 'disks', { redefine: false });
  const unhonoured = findUnhonoured(root);
  return {
    name,
    ...(description !== undefined && { description }),
    creationTime: options.now,
    memory,
    disks,
    ...(unhonoured && { unhonoured }),
  };
}

/**
 * Reads a whole snapshot: a redefinition or, with `internal`, a stored file, whose `<active>` says whether its snapshot is
 * the current one. Drops a `<cookie>`, which is another driver's private data.
 */
export function readSnapshot(
  xml: string,
  options: { internal: boolean },
): { snapshot: SnapshotDef; current?: boolean } {
  return snapshotOf(readRoot(xml), options);
}

/** Reads from a stored file what lists need. Refuses what readSnapshot refuses. */
export function readSnapshotEntry(xml: string): { entry: SnapshotEntry; current: boolean } {
  const { snapshot, current } = snapshotOf(readRoot(xml), { internal: true });
  return { entry: entryOf(snapshot), current: current === true };
}

function snapshotOf(root: XmlElement, options: { internal: boolean }): { snapshot: SnapshotDef; current?: boolean } {
  const name = textAt(root, 'name');
  if (name === undefined) throw refusal('XML_ERROR', 'a redefined snapshot must have a name');
  const description = textAt(root, 'description');
  const creationTime = signedInteger(textAt(root, 'creationTime') ?? '');
  if (creationTime === undefined) throw refusal('INTERNAL_ERROR', 'missing creationTime from existing snapshot');
  const parent = textAt(root, 'parent', 'name');
  const state = readState(root);
  const domain = readDefinition(root, 'domain', options);
  const inactiveDomain = readDefinition(root, 'inactiveDomain', options);
  const offline = OFFLINE_STATES.includes(state);
  const memory = readMemory(root, { offline, implied: offline ? 'no' : 'internal' });
  const disks = readDiskSnapshots(root, 'disks', { redefine: true });
  const revertDisks = readDiskSnapshots(root, 'revertDisks', { redefine: true });
  const snapshot: SnapshotDef = {
    name,
    ...(description !== undefined && { description }),
    state,
    ...(parent !== undefined && { parent }),
    creationTime,
    memory,
    disks,
    revertDisks,
    ...(domain && { domain }),
    ...(inactiveDomain && { inactiveDomain }),
  };
  return options.internal ? { snapshot, current: readActive(root) } : { snapshot };
}

function readRoot(xml: string): XmlElement {
  const root = parseXml(xml, 'domain_snapshot');
  if (root.name !== 'domainsnapshot') {
    throw refusal('XML_ERROR', `expecting root element of 'domainsnapshot', not '${root.name}'`);
  }
  return root;
}

function readState(root: XmlElement): SnapshotState {
  const text = textAt(root, 'state');
  if (text === undefined) throw refusal('XML_ERROR', 'missing state from existing snapshot');
  const state = WRITTEN_STATES.find((known) => known === text);
  if (state === undefined) throw refusal('CONFIG_UNSUPPORTED', `Invalid state '${text}' in domain snapshot XML`);
  return state;
}

/**
 * Returns a redefinition as libvirt would print it, inactive; stored definitions are in that form already. Old documents
 * have a `<domain>` that holds only a UUID: that does not count as a definition.
 */
function readDefinition(
  root: XmlElement,
  name: 'domain' | 'inactiveDomain',
  { internal }: { internal: boolean },
): DomainDefinition | undefined {
  const found = childAt(root, name);
  if (!found || (name === 'domain' && !found.attributes.type)) return undefined;
  checkDefinition(found);
  const definition = { ...found, name: 'domain' };
  return definitionOf(internal ? definition : inactiveFormat(withDefaults(definition)));
}

function readMemory(
  root: XmlElement,
  { offline, implied }: { offline: boolean; implied: 'default' | 'no' | 'internal' },
): MemorySnapshot {
  const memory = childAt(root, 'memory');
  const file = memory?.attributes.file;
  const given = memory && enumAttribute(memory, 'snapshot', WRITTEN_LOCATIONS);
  if (given === 'manual') throw refusal('XML_ERROR', "'manual' memory snapshot mode not supported");
  const location = given ?? (file === undefined ? implied : 'external');
  const cannot = () => refusal('XML_ERROR', 'memory state cannot be saved with offline or disk-only snapshot');
  if (location !== 'external') {
    if (file !== undefined) throw refusal('XML_ERROR', `memory filename '${file}' requires external snapshot`);
    if (offline && location === 'internal') throw cannot();
    return { location };
  }
  if (file === undefined) throw refusal('XML_ERROR', 'external memory snapshots require a filename');
  if (offline) throw cannot();
  if (!file.startsWith('/')) throw refusal('XML_ERROR', `memory snapshot file path (${file}) must be absolute`);
  return { location, file };
}

function readActive(root: XmlElement): boolean {
  const active = childAt(root, 'active');
  const value = active && signedInteger(textOf(active), 32);
  if (value === undefined) throw refusal('INTERNAL_ERROR', "Could not find 'active' element");
  return value !== 0n;
}
