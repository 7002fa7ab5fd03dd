/** A libvirtd of one Xen domain, in memory, that writes down what is asked of it, among what others do meanwhile. */

import { LibvirtError } from '../../../src/errors.ts';
import type { LibvirtHostOptions } from '../../../src/hosts/libvirt/libvirt-host.ts';
import type { Upstream } from '../../../src/hosts/libvirt/upstream.ts';
import type { Domain, DomainRef, DomainState, NetworkRef, StorageVolume } from '../../../src/model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../../src/model/events.ts';
import type { LifecycleEvents } from '../../../src/snapshots/ports/host.ts';
import type { LiveDisks } from '../../../src/snapshots/ports/store.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';

export const GUEST: DomainRef = { name: 'g', uuid: '11111111-2222-3333-4444-777777777777', id: 5 };
export const RUNNING: Domain = { ref: GUEST, state: 'running', persistent: true };

/** Capabilities of a Xen that cannot save guests. */
export const ON_ARM = `<capabilities><host><cpu><arch>aarch64</arch></cpu></host>
  <guest><os_type>xen</os_type><arch name='aarch64'><domain type='xen'/></arch></guest></capabilities>`;

export const LIVE_XML = `<domain type='xen' id='5'>
  <name>g</name>
  <uuid>${GUEST.uuid}</uuid>
  <memory unit='KiB'>65536</memory>
  <os><type>linux</type></os>
  <devices>
    <graphics type='vnc' port='5901' autoport='yes' passwd='secret'/>
  </devices>
</domain>`;

const nameOf = ({ event, detail }: LifecycleEvent): string =>
  Object.entries(LIFECYCLE).find(([, known]) => known.event === event && known.detail === detail)?.[0] ?? '?';

/** Everything that happens, in order. */
export class Record {
  readonly lines: string[] = [];

  write(line: string): void {
    this.lines.push(line);
  }
}

export class RecordedEvents implements LifecycleEvents {
  readonly #record: Record;
  readonly emitted: { readonly ref: DomainRef; readonly event: string }[] = [];

  constructor(record: Record) {
    this.#record = record;
  }

  emit(ref: DomainRef, event: LifecycleEvent): void {
    this.emitted.push({ ref, event: nameOf(event) });
    this.#record.write(`emit ${nameOf(event)}`);
  }

  expect(_uuid: string, event: LifecycleEvent, as?: LifecycleEvent): Disposable {
    this.#record.write(`expect ${nameOf(event)}${as ? ` as ${nameOf(as)}` : ''}`);
    return { [Symbol.dispose]: () => this.#record.write(`expect no more ${nameOf(event)}`) };
  }
}

/** VIR_DOMAIN_JOB_UNBOUNDED. */
const UNBOUNDED = 2;

/** Calls that fail, by name: how often, and what with. */
type Failures = Partial<{ [Call in keyof Upstream]: { times: number; error?: LibvirtError } }>;

export class RecordedUpstream implements Upstream {
  readonly #record: Record;
  readonly failures: Failures;
  ref: DomainRef | undefined = GUEST;
  state: DomainState = 'running';
  type = 'Xen';
  capabilities =
    '<capabilities><host><migration_features><live/></migration_features></host>' +
    "<guest><os_type>xen</os_type><arch name='x86_64'><domain type='xen'/></arch></guest></capabilities>";
  /** The live definition, and the one in a saved image. */
  xml = LIVE_XML;
  /** Definitions that were written into a saved image. */
  readonly definedImages: string[] = [];
  /** Whether its driver can read saved images; they are the guest's then. */
  readsImages = true;
  isManagedSaved = false;
  /** The virtual networks, by name: whether each is active. */
  readonly networks = new Map<string, boolean>();
  /** What happens to a saved image while the guest is restored from it. */
  restoring: (path: string) => Promise<void> = async () => {};
  /** So many answers say that a job is under way, and then the domain is this. */
  busy = 0;
  refAfterJob: DomainRef | undefined = GUEST;
  /** State that a failing pmSuspendForDuration leaves behind. */
  stateAfterFailure: DomainState = 'running';

  constructor(record: Record, failures: Failures = {}) {
    this.#record = record;
    this.failures = failures;
  }

  async getCapabilities(): Promise<string> {
    return this.capabilities;
  }

  async getType(): Promise<string> {
    return this.type;
  }

  async listAllDomains(): Promise<readonly DomainRef[]> {
    return this.ref ? [this.ref] : [];
  }

  async lookupByUUID(uuid: string): Promise<DomainRef> {
    this.#enter('lookupByUUID');
    if (this.ref?.uuid === uuid) return this.ref;
    throw new LibvirtError('NO_DOMAIN', `no domain with matching uuid '${uuid}'`);
  }

  async getState(): Promise<DomainState> {
    this.#enter('getState');
    return this.state;
  }

  async getInfo(): Promise<{ readonly memory: bigint }> {
    return { memory: 65_536n };
  }

  async getFreeMemory(): Promise<bigint> {
    return 1n << 30n;
  }

  async networkLookupByName(name: string): Promise<NetworkRef> {
    if (this.networks.has(name)) return { name, uuid: GUEST.uuid };
    throw new LibvirtError('NO_NETWORK', `no network with matching name '${name}'`);
  }

  async networkIsActive({ name }: NetworkRef): Promise<boolean> {
    return this.networks.get(name) ?? false;
  }

  async isPersistent(): Promise<boolean> {
    return true;
  }

  async getXMLDesc(_domain: DomainRef, flags: number): Promise<string> {
    this.#enter('getXMLDesc', flags);
    return this.xml;
  }

  async defineXML(): Promise<DomainRef> {
    this.#enter('defineXML');
    return GUEST;
  }

  async undefine(): Promise<void> {
    this.#enter('undefine');
  }

  async createXML(_xml: string, flags: number): Promise<DomainRef> {
    this.#enter('createXML', flags);
    return GUEST;
  }

  async createWithFlags(_domain: DomainRef, flags: number): Promise<DomainRef> {
    this.#enter('createWithFlags', flags);
    return GUEST;
  }

  async destroy(): Promise<void> {
    this.#enter('destroy');
  }

  async suspend(): Promise<void> {
    this.#enter('suspend');
  }

  async resume(): Promise<void> {
    this.#enter('resume');
  }

  /** Another user than ours, whose libvirtd writes and opens images by their paths. */
  async socketOwner(): Promise<number> {
    return 65_534;
  }

  async sharesProcesses(): Promise<boolean> {
    return true;
  }

  async saveFlags(_domain: DomainRef, to: string, flags: number): Promise<void> {
    this.#enter('saveFlags', to, flags);
  }

  async restoreFlags(from: string, flags: number): Promise<void> {
    this.#enter('restoreFlags', from, flags);
    await this.restoring(from);
  }

  async saveImageGetXMLDesc(): Promise<string> {
    if (this.readsImages) return this.xml;
    throw new LibvirtError('NO_SUPPORT', 'virDomainSaveImageGetXMLDesc');
  }

  async saveImageDefineXML(_file: string, xml: string): Promise<void> {
    this.definedImages.push(xml);
    if (!this.readsImages) throw new LibvirtError('NO_SUPPORT', 'virDomainSaveImageDefineXML');
  }

  async hasManagedSaveImage(): Promise<boolean> {
    return this.isManagedSaved;
  }

  async managedSave(): Promise<void> {
    this.#enter('managedSave');
  }

  async setLiveMetadata(_domain: DomainRef, { xml }: { readonly xml: string | null }): Promise<void> {
    this.#enter('setLiveMetadata', xml === null ? 'none' : 'room');
  }

  async managedSaveRemove(): Promise<void> {
    this.#enter('managedSaveRemove');
    this.isManagedSaved = false;
  }

  async getJobStats(): Promise<{ readonly type: number }> {
    this.#enter('getJobStats');
    if (this.busy === 0) return { type: 0 };
    this.busy -= 1;
    if (this.busy === 0) this.ref = this.refAfterJob;
    return { type: UNBOUNDED };
  }

  async pmSuspendForDuration(_domain: DomainRef, target: number): Promise<void> {
    this.#enter('pmSuspendForDuration', target);
    this.state = 'pmsuspended';
  }

  async volumePath({ pool, name }: StorageVolume): Promise<string> {
    this.#enter('volumePath', pool, name);
    return `/pools/${pool}/${name}`;
  }

  async pmWakeup(): Promise<void> {
    this.#enter('pmWakeup');
    this.state = 'running';
  }

  onLifecycle(): void {}

  #enter(call: keyof Upstream, ...args: readonly (string | number)[]): void {
    this.#record.write([call, ...args].join(' '));
    const failure = this.failures[call];
    if (!failure || failure.times === 0) return;
    failure.times -= 1;
    if (call === 'pmSuspendForDuration') this.state = this.stateAfterFailure;
    throw failure.error ?? new LibvirtError('INTERNAL_ERROR', `${call} failed`);
  }
}

/** A mechanism that nothing is asked of. */
export const NO_MECHANISM: LibvirtHostOptions['mechanism'] = {
  checkSave: () => Promise.reject(new Error('not to be called')),
  save: () => Promise.reject(new Error('not to be called')),
  recover: () => Promise.reject(new Error('not to be called')),
  deleteDiskSnapshots: () => Promise.reject(new Error('not to be called')),
  checkCommit: () => Promise.reject(new Error('not to be called')),
  commit: () => Promise.reject(new Error('not to be called')),
  closeDetached: () => Promise.reject(new Error('not to be called')),
  freeze: () => Promise.reject(new Error('not to be called')),
  checkRestore: () => Promise.reject(new Error('not to be called')),
  retie: () => Promise.reject(new Error('not to be called')),
  hostMemory: () => Promise.reject(new Error('not to be called')),
};

/** No domain stands on an overlay. */
export const NO_LIVE_DISKS: LiveDisks = {
  any: false,
  has: () => false,
  of: () => new Map(),
  set: async () => {},
  keepDisks: async () => [],
  forget: async () => {},
  keep: async () => {},
};

/** The definition of the guest, as a restore is given it. */
export const DEFINITION = parseDefinition(LIVE_XML);

/** How libvirtd is made to watch a domain again: it suspends it to memory and wakes it up, and clients see neither. */
export const REARMED = [
  'expect PMSUSPENDED_MEMORY',
  'expect STARTED_WAKEUP',
  'lookupByUUID',
  'pmSuspendForDuration 0',
  'pmWakeup',
  'expect no more PMSUSPENDED_MEMORY',
  'expect no more STARTED_WAKEUP',
];
