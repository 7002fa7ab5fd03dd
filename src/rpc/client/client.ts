/**
 * A client of libvirt's RPC: the daemon's own connection to the upstream libvirtd, for its own calls (those of its
 * clients go through proxy.ts), and the xlsnap command's connection to the daemon.
 */

import { isLibvirtError, LibvirtError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import { DOMAIN_STATES, type DomainRef, type DomainState, type NetworkRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { SnapshotRow } from '../../model/snapshot.ts';
import type { Decoded } from '../wire/codec.ts';
import { EVENT_ID } from '../wire/procedures.ts';
import { type BlockCalls, blockCalls } from './blocks.ts';
import { CALLS, LIVE_ELEMENT } from './calls.ts';
import { Channel, type ChannelOptions } from './channel.ts';
import type { EventMessage, RemoteCall, Send } from './connection.ts';
import { type SnapshotCalls, type SnapshotRef, snapshotCalls } from './snapshots.ts';
import { volumePathCall } from './volumes.ts';

/** The job of a domain, as typed parameters. */
export type JobStats = Decoded<typeof CALLS.getJobStats.result>;

type LifecycleListener = (domain: DomainRef, event: LifecycleEvent) => void;

/** libvirt's calls by libvirt's names, with libvirtd's own errors. */
export class RpcClient implements Disposable {
  readonly #channel: Channel;
  readonly #send: Send = (call, args) => this.#channel.call(call, args);
  /** virDomainSnapshot*. */
  readonly snapshots: SnapshotCalls = snapshotCalls(this.#send);
  /** virDomainBlock*. */
  readonly blocks: BlockCalls = blockCalls(this.#send);
  /** virStorageVolGetPath of a volume, by its names. */
  readonly volumePath = volumePathCall(this.#send);

  private constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Rejects if no libvirtd answers, or if it refuses this client. */
  static async connect(options: ChannelOptions): Promise<RpcClient> {
    return new RpcClient(await Channel.open(options));
  }

  /** Running calls fail; nothing connects again. */
  [Symbol.dispose](): void {
    this.#channel[Symbol.dispose]();
  }

  /** The user who runs the libvirtd. */
  socketOwner(): Promise<number> {
    return this.#channel.socketOwner();
  }

  /** True if a process of this host's number N is N under /proc for the libvirtd, too: it is in the same process namespace. */
  sharesProcesses(): Promise<boolean> {
    return this.#channel.sharesProcesses();
  }

  /** Calls back with lifecycle events of all domains. Events while there is no connection are lost. */
  onLifecycle(listener: LifecycleListener): void {
    this.#channel.onEvent((message) => {
      if (message.kind !== 'lifecycle') return;
      const { domain, event, detail } = message;
      listener(domain, { event, detail });
    });
  }

  /** Calls back with events of all domains, those of block jobs included. Returns how to end that. */
  onEvent(listener: (message: EventMessage) => void): () => void {
    return this.#channel.onEvent(listener);
  }

  /** Calls back once, when the connection has ended for good; without an error if it was closed. Returns how to end that. */
  onEnd(listener: (error?: LibvirtError) => void): () => void {
    return this.#channel.onEnd(listener);
  }

  /** Registers this connection for events of block jobs, and pings from here on: a dead one is seen though no call waits. */
  async watchBlockJobs(): Promise<void> {
    const connection = await this.#channel.connected();
    connection.keepAlive();
    await connection.call(CALLS.registerAny, { eventID: EVENT_ID.BLOCK_JOB_2, domain: null });
  }

  /**
   * Returns the status of the xlsnapd that answers; undefined if libvirtd itself answers, or an xlsnapd without this
   * call.
   */
  async daemonStatus(): Promise<DaemonStatus | undefined> {
    return (await this.#askXlsnapd(CALLS.daemonStatus, undefined))?.answer;
  }

  /** Protects a snapshot from being deleted, or ends that. Refuses (NO_SUPPORT) a daemon without this call. */
  async setProtected(snapshot: SnapshotRef, on: boolean): Promise<void> {
    await this.#requireXlsnapd('protect snapshots', CALLS.setProtected, { snapshot, on });
  }

  /** SnapshotApi.checkCreate. Refuses (NO_SUPPORT) a daemon without this call. */
  async checkCreate(domain: DomainRef, xml: string, flags: number): Promise<string> {
    return (await this.#requireXlsnapd('check snapshots', CALLS.checkCreate, { domain, xml, flags })).value;
  }

  /** Returns the names of the protected snapshots; none from a daemon without this call. */
  async listProtected(domain: DomainRef): Promise<readonly string[]> {
    return (await this.#askXlsnapd(CALLS.listProtected, { domain }))?.answer.names ?? [];
  }

  /** Returns what a list shows of every snapshot of the domain; undefined if the daemon does not know this call. */
  async listRows(domain: DomainRef): Promise<readonly SnapshotRow[] | undefined> {
    return (await this.#askXlsnapd(CALLS.listRows, { domain }))?.answer.rows;
  }

  /** Refuses (NO_SUPPORT) a daemon that does not know the call. `what`: the daemon cannot do it then. */
  async #requireXlsnapd<A, R>(what: string, call: RemoteCall<A, R>, args: A): Promise<R> {
    const asked = await this.#askXlsnapd(call, args);
    if (asked) return asked.answer;
    throw new LibvirtError('NO_SUPPORT', `the daemon that answers cannot ${what}: it is not xlsnapd, or an older one`);
  }

  /** Returns undefined if the daemon does not know the call. */
  async #askXlsnapd<A, R>(call: RemoteCall<A, R>, args: A): Promise<{ readonly answer: R } | undefined> {
    const connection = await this.#channel.connected();
    try {
      return { answer: await connection.call(call, args) };
    } catch (error) {
      // If the connection is still open, this is the reply of libvirtd, or of an older xlsnapd, that does not know it.
      if (isLibvirtError(error, 'RPC') && !connection.closed) return undefined;
      throw error;
    }
  }

  async getType(): Promise<string> {
    return (await this.#call(CALLS.getType, undefined)).value;
  }

  async getCapabilities(): Promise<string> {
    return (await this.#call(CALLS.getCapabilities, undefined)).value;
  }

  async getVersion(): Promise<bigint> {
    return (await this.#call(CALLS.getVersion, undefined)).value;
  }

  async getLibVersion(): Promise<bigint> {
    return (await this.#call(CALLS.getLibVersion, undefined)).value;
  }

  /** `flags`: virConnectListAllDomainsFlags. */
  async listAllDomains(flags = 0): Promise<readonly DomainRef[]> {
    const { domains } = await this.#call(CALLS.listAllDomains, { needResults: 1, flags });
    return domains;
  }

  async lookupByID(id: number): Promise<DomainRef> {
    return (await this.#call(CALLS.lookupByID, { id })).domain;
  }

  async lookupByName(name: string): Promise<DomainRef> {
    return (await this.#call(CALLS.lookupByName, { name })).domain;
  }

  async lookupByUUID(uuid: string): Promise<DomainRef> {
    return (await this.#call(CALLS.lookupByUUID, { uuid })).domain;
  }

  async getState(domain: DomainRef): Promise<DomainState> {
    return (await this.getStateAndReason(domain)).state;
  }

  /** `reason`: the number that libvirt has for it, of the enumeration of that state. */
  async getStateAndReason(domain: DomainRef): Promise<{ readonly state: DomainState; readonly reason: number }> {
    const { state, reason } = await this.#call(CALLS.getState, { domain, flags: 0 });
    return { state: DOMAIN_STATES[state] ?? 'nostate', reason };
  }

  /** Memory in KiB. */
  getInfo(domain: DomainRef): Promise<{ readonly memory: bigint }> {
    return this.#call(CALLS.getInfo, { domain });
  }

  /** Of the host, bytes. */
  async getFreeMemory(): Promise<bigint> {
    return (await this.#call(CALLS.getFreeMemory, undefined)).value;
  }

  async networkLookupByName(name: string): Promise<NetworkRef> {
    return (await this.#call(CALLS.networkLookupByName, { name })).network;
  }

  async networkIsActive(network: NetworkRef): Promise<boolean> {
    return (await this.#call(CALLS.networkIsActive, { network })).active !== 0;
  }

  async isPersistent(domain: DomainRef): Promise<boolean> {
    return (await this.#call(CALLS.isPersistent, { domain })).value !== 0;
  }

  /** `flags`: virDomainXMLFlags. */
  async getXMLDesc(domain: DomainRef, flags: number): Promise<string> {
    return (await this.#call(CALLS.getXMLDesc, { domain, flags })).value;
  }

  async defineXML(xml: string): Promise<DomainRef> {
    return (await this.#call(CALLS.defineXML, { xml })).domain;
  }

  async undefine(domain: DomainRef): Promise<void> {
    await this.#call(CALLS.undefine, { domain });
  }

  /** Starts a transient domain. `flags`: virDomainCreateFlags. */
  async createXML(xml: string, flags: number): Promise<DomainRef> {
    return (await this.#call(CALLS.createXML, { xml, flags })).domain;
  }

  /** `flags`: virDomainCreateFlags. Returns the domain with its new id. */
  async createWithFlags(domain: DomainRef, flags: number): Promise<DomainRef> {
    return (await this.#call(CALLS.createWithFlags, { domain, flags })).domain;
  }

  destroy(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.destroy, { domain });
  }

  shutdown(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.shutdown, { domain });
  }

  suspend(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.suspend, { domain });
  }

  resume(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.resume, { domain });
  }

  /** `flags`: virDomainSaveRestoreFlags. libvirtd writes the file, as its own user. */
  saveFlags(domain: DomainRef, to: string, flags: number): Promise<void> {
    return this.#call(CALLS.saveFlags, { domain, to, dxml: null, flags });
  }

  restoreFlags(from: string, flags: number): Promise<void> {
    return this.#call(CALLS.restoreFlags, { from, dxml: null, flags });
  }

  /** Returns the definition in a saved image. NO_SUPPORT from drivers that cannot read it (libxl). */
  async saveImageGetXMLDesc(file: string, flags: number): Promise<string> {
    return (await this.#call(CALLS.saveImageGetXMLDesc, { file, flags })).value;
  }

  /** `flags`: virDomainSaveRestoreFlags. */
  saveImageDefineXML(file: string, dxml: string, flags: number): Promise<void> {
    return this.#call(CALLS.saveImageDefineXML, { file, dxml, flags });
  }

  async hasManagedSaveImage(domain: DomainRef): Promise<boolean> {
    return (await this.#call(CALLS.hasManagedSaveImage, { domain, flags: 0 })).value !== 0;
  }

  managedSave(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.managedSave, { domain, flags: 0 });
  }

  /** A metadata element of the live definition; `xml` null removes it. */
  setLiveMetadata(
    domain: DomainRef,
    { xml, key, uri }: { readonly xml: string | null; readonly key: string; readonly uri: string },
  ): Promise<void> {
    const { type, flags } = LIVE_ELEMENT;
    return this.#call(CALLS.setMetadata, { domain, type, metadata: xml, key, uri, flags });
  }

  managedSaveRemove(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.managedSaveRemove, { domain, flags: 0 });
  }

  /** `target`: virNodeSuspendTarget. */
  pmSuspendForDuration(domain: DomainRef, target: number): Promise<void> {
    return this.#call(CALLS.pmSuspendForDuration, { domain, target, duration: 0n, flags: 0 });
  }

  pmWakeup(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.pmWakeup, { domain, flags: 0 });
  }

  /** `flags`: virDomainGetJobStatsFlags. The type is virDomainJobType's number; 0 if no job runs. */
  getJobStats(domain: DomainRef, flags: number): Promise<JobStats> {
    return this.#call(CALLS.getJobStats, { domain, flags });
  }

  abortJob(domain: DomainRef): Promise<void> {
    return this.#call(CALLS.abortJob, { domain });
  }

  #call<A, R>(call: RemoteCall<A, R>, args: A): Promise<R> {
    return this.#channel.call(call, args);
  }
}
