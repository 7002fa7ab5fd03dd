/**
 * libvirt-dbus' objects, as far as snapshots need them: the connection, the domains, the snapshots; and our signals.
 */

import { hostname } from 'node:os';
import { isLibvirtError, LibvirtError } from '../errors.ts';
import { type Domain, type DomainRef, isActive } from '../model/domain.ts';
import type { SnapshotApi, SnapshotRef } from '../snapshots/api.ts';
import type { Host } from '../snapshots/ports/host.ts';
import { action, type Interface, method, property } from './interface.ts';
import { domainPath, type Places, snapshotPath } from './paths.ts';

/** The host, as far as these objects need it. */
export interface DomainSource extends Pick<Host, 'lookup'> {
  /** virDomainIsActive and virDomainIsPersistent: libvirt's access drivers ask more for these than for a lookup. */
  state(ref: DomainRef): Promise<Domain>;
  /** Those among which a lookup finds its domain. */
  all(): Promise<readonly DomainRef[]>;
  /** virConnectListAllDomains. */
  list(flags: number): Promise<readonly DomainRef[]>;
  /** virConnectGetVersion and virConnectGetLibVersion: major · 10⁶ + minor · 10³ + release. */
  version(): Promise<bigint>;
  libVersion(): Promise<bigint>;
}

/** The parts that the objects use. */
export interface Served {
  readonly places: Places;
  readonly domains: DomainSource;
  readonly snapshots: SnapshotApi;
}

interface DomainObject extends Served {
  readonly domain: Domain;
}

interface SnapshotObject extends Served {
  readonly snapshot: SnapshotRef;
}

/** No flags: lists every domain. */
const ALL = 0;

/** Interface of `/org/libvirt/<driver>`. Leaves out what libvirt-dbus has beyond snapshots. */
export const CONNECT: Interface<Served> = {
  name: 'org.libvirt.Connect',
  properties: {
    Encrypted: property('b', () => false),
    Hostname: property('s', () => hostname()),
    LibVersion: property('t', ({ domains }) => domains.libVersion()),
    // libvirt calls a UNIX socket secure.
    Secure: property('b', () => true),
    Version: property('t', ({ domains }) => domains.version()),
  },
  methods: {
    DomainLookupByID: method({ id: 'i' }, { domain: 'o' }, (served, { id }) =>
      lookup(served, (ref) => id >= 0 && ref.id === id, `id ${id}`),
    ),
    DomainLookupByName: method({ name: 's' }, { domain: 'o' }, (served, { name }) =>
      lookup(served, (ref) => ref.name === name, `name '${name}'`),
    ),
    DomainLookupByUUID: method({ uuid: 's' }, { domain: 'o' }, (served, { uuid }) =>
      lookup(served, (ref) => ref.uuid === uuid.toLowerCase(), `uuid '${uuid}'`),
    ),
    ListDomains: method({ flags: 'u' }, { domains: 'ao' }, async ({ places, domains }, { flags }) =>
      (await domains.list(flags)).map(({ uuid }) => domainPath(places, uuid)),
    ),
  },
  signals: { DomainEvent: { domain: 'o', event: 'i', detail: 'i' } },
};

/** virDomainGetID's value for a domain that has none: (unsigned int) -1. */
const NO_ID = 0xffff_ffff;

/** The interface of domain objects. */
export const DOMAIN: Interface<DomainObject> = {
  name: 'org.libvirt.Domain',
  properties: {
    Active: property('b', async ({ domains, domain }) => isActive(await domains.state(domain.ref))),
    Id: property('u', ({ domain }) => (isActive(domain) ? domain.ref.id : NO_ID)),
    Name: property('s', ({ domain }) => domain.ref.name),
    Persistent: property('b', async ({ domains, domain }) => (await domains.state(domain.ref)).persistent),
    UUID: property('s', ({ domain }) => domain.ref.uuid),
  },
  methods: {
    ListDomainSnapshots: method({ flags: 'u' }, { domainSnapshots: 'ao' }, async (object, { flags }) =>
      (await object.snapshots.listAll(object.domain.ref, flags)).map((snapshot) => pathOf(object, snapshot)),
    ),
    SnapshotCreateXML: method({ xml: 's', flags: 'u' }, { domainSnapshot: 'o' }, async (object, { xml, flags }) =>
      pathOf(object, await object.snapshots.createXML(object.domain.ref, xml, flags)),
    ),
    SnapshotCurrent: method({ flags: 'u' }, { domainSnapshot: 'o' }, async (object, { flags }) =>
      pathOf(object, await object.snapshots.current(object.domain.ref, flags)),
    ),
    SnapshotLookupByName: method({ name: 's', flags: 'u' }, { domainSnapshot: 'o' }, async (object, { name, flags }) =>
      pathOf(object, await object.snapshots.lookupByName(object.domain.ref, name, flags)),
    ),
  },
  signals: {},
};

/** The interface of snapshot objects. */
export const DOMAIN_SNAPSHOT: Interface<SnapshotObject> = {
  name: 'org.libvirt.DomainSnapshot',
  properties: {},
  methods: {
    Delete: action({ flags: 'u' }, ({ snapshots, snapshot }, { flags }) => snapshots.delete(snapshot, flags)),
    GetParent: method({ flags: 'u' }, { domainSnapshot: 'o' }, async (object, { flags }) =>
      pathOf(object, await object.snapshots.getParent(object.snapshot, flags)),
    ),
    GetXMLDesc: method({ flags: 'u' }, { xml: 's' }, ({ snapshots, snapshot }, { flags }) =>
      snapshots.getXMLDesc(snapshot, flags),
    ),
    IsCurrent: method({ flags: 'u' }, { domainSnapshot: 'b' }, ({ snapshots, snapshot }, { flags }) =>
      snapshots.isCurrent(snapshot, flags),
    ),
    ListChildren: method({ flags: 'u' }, { domainSnapshots: 'ao' }, async (object, { flags }) =>
      (await object.snapshots.listAllChildren(object.snapshot, flags)).map((snapshot) => pathOf(object, snapshot)),
    ),
    Revert: action({ flags: 'u' }, ({ snapshots, snapshot }, { flags }) => snapshots.revert(snapshot, flags)),
  },
  signals: {},
};

/**
 * Our additions to libvirt-dbus on the domain's object. `JobProgress`: bytes of the memory image, 0 of 0 if nothing is
 * counted; a job's last signal has the phase `completed` or `failed`.
 */
export const XLSNAP_DOMAIN: Interface<DomainObject> = {
  name: 'org.xlsnap.Domain',
  properties: {},
  methods: {},
  signals: {
    SnapshotCreated: { domainSnapshot: 'o', name: 's' },
    SnapshotDeleted: { domainSnapshot: 'o', name: 's' },
    SnapshotReverted: { domainSnapshot: 'o', name: 's' },
    JobProgress: { operation: 's', name: 's', phase: 's', done: 't', total: 't' },
  },
};

/** Returns the domain's object. Rejects (NO_DOMAIN) if no domain has this UUID. */
export async function domainObject(served: Served, uuid: string): Promise<DomainObject> {
  return { ...served, domain: await served.domains.lookup({ name: '', uuid, id: -1 }) };
}

/** Returns the snapshot's object. Rejects (NO_DOMAIN, NO_DOMAIN_SNAPSHOT) if it does not exist. */
export async function snapshotObject(served: Served, uuid: string, name: string): Promise<SnapshotObject> {
  const { domain } = await domainObject(served, uuid);
  return { ...served, snapshot: await served.snapshots.lookupByName(domain.ref, name, 0) };
}

/** Returns the paths of all domains. */
export async function domainPaths({ places, domains }: Served): Promise<readonly string[]> {
  return (await domains.list(ALL)).map(({ uuid }) => domainPath(places, uuid));
}

/** Returns the paths of all snapshots of all domains. */
export async function snapshotPaths(served: Served): Promise<readonly string[]> {
  const domains = await served.domains.list(ALL);
  const lists = await Promise.all(domains.map((domain) => served.snapshots.listAll(domain, 0).catch(noneIfGone)));
  return lists.flat().map((snapshot) => pathOf(served, snapshot));
}

/** A domain that was removed after the list was made has no snapshots, nor has one whose snapshots the caller may not see. */
function noneIfGone(error: unknown): readonly SnapshotRef[] {
  if (!isLibvirtError(error, 'NO_DOMAIN', 'ACCESS_DENIED')) throw error;
  return [];
}

function pathOf({ places }: Served, { domain, name }: SnapshotRef): string {
  return snapshotPath(places, domain.uuid, name);
}

async function lookup(
  { places, domains }: Served,
  matches: (ref: DomainRef) => boolean,
  described: string,
): Promise<string> {
  const found = (await domains.all()).find(matches);
  if (!found) throw new LibvirtError('NO_DOMAIN', `no domain with matching ${described}`);
  return domainPath(places, found.uuid);
}
