/**
 * A client of libvirt's RPC: the daemon's own connection to the upstream libvirtd, for its own calls (those of its
 * clients go through proxy.ts), and the xlsnap command's connection to the daemon.
 */

import { readlink, stat } from 'node:fs/promises';
import type { PeerCredentials } from '../../access/caller.ts';
import { isLibvirtError, LibvirtError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import { DOMAIN_STATES, type DomainRef, type DomainState, type NetworkRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { Decoded } from '../wire/codec.ts';
import type { LifecycleMessage } from '../wire/messages.ts';
import { blockJobInfoCall } from './blocks.ts';
import { CALLS } from './calls.ts';
import { ClientConnection, type RemoteCall } from './connection.ts';
import { type Introduction, introduce } from './introduction.ts';
import { type SnapshotCalls, snapshotCalls } from './snapshots.ts';
import { volumePathCall } from './volumes.ts';

/** Interval at which a lost connection is tried again, so that events are received from libvirtd's restart on. */
const RECONNECT_INTERVAL_MS = 1_000;
/** From connect() to the end of CONNECT_OPEN. A libvirtd that is starting its drivers answers late. */
const OPEN_TIMEOUT_MS = 30_000;

interface RpcClientOptions extends Introduction {
  /** Returns who is at the other end of a socket. Absent: nobody can say. */
  readonly peerOf?: (fd: number) => PeerCredentials | undefined;
  /** Ends the client when aborted, as disposing of it does. */
  readonly signal?: AbortSignal;
}

/** The job of a domain, as typed parameters. */
export type JobStats = Decoded<typeof CALLS.getJobStats.result>;

type LifecycleListener = (domain: DomainRef, event: LifecycleEvent) => void;

/**
 * libvirt's calls by libvirt's names, with libvirtd's own errors. If the connection is lost, running calls fail with an
 * error that says that their outcome is not known; the next call, or a timer, connects again.
 */
export class RpcClient implements Disposable {
  readonly #options: RpcClientOptions;
  readonly #ended = new AbortController();
  readonly #listeners = new Set<LifecycleListener>();
  /** virDomainSnapshot*. */
  readonly snapshots: SnapshotCalls = snapshotCalls((call, args) => this.#call(call, args));
  /** virStorageVolGetPath of a volume, by its names. */
  readonly volumePath = volumePathCall((call, args) => this.#call(call, args));
  readonly blockJobInfo = blockJobInfoCall((call, args) => this.#call(call, args));
  #connection: Promise<ClientConnection> | undefined;
  #reconnect: NodeJS.Timeout | undefined;

  private constructor(options: RpcClientOptions) {
    this.#options = options;
  }

  /** The user who runs the libvirtd. */
  async socketOwner(): Promise<number> {
    return (await stat(this.#options.path)).uid;
  }

  /** True if a process of this host's number N is N under /proc for the libvirtd, too: it is in the same process namespace. */
  async sharesProcesses(): Promise<boolean> {
    const { fd } = await this.#connected();
    const pid = fd === undefined ? undefined : this.#options.peerOf?.(fd)?.pid;
    // One that cannot be seen from here has the number 0.
    if (pid === undefined || pid <= 0) return false;
    const [ours, theirs] = await Promise.all(['self', pid].map((of) => readlink(`/proc/${of}/ns/pid`).catch(() => of)));
    return ours === theirs;
  }

  /** Rejects if no libvirtd answers, or if it refuses this client. */
  static async connect(options: RpcClientOptions): Promise<RpcClient> {
    const client = new RpcClient(options);
    options.signal?.addEventListener('abort', () => client[Symbol.dispose](), { once: true });
    try {
      if (options.signal?.aborted) client[Symbol.dispose]();
      await client.#connected();
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
    return client;
  }

  /** Running calls fail; nothing connects again. */
  [Symbol.dispose](): void {
    this.#ended.abort();
    clearTimeout(this.#reconnect);
    this.#connection?.then((connection) => connection[Symbol.dispose]()).catch(() => {});
  }

  /** Calls back with lifecycle events of all domains. Events while there is no connection are lost. */
  onLifecycle(listener: LifecycleListener): void {
    this.#listeners.add(listener);
  }

  /**
   * Returns the status of the xlsnapd that answers; undefined if libvirtd itself answers, or an xlsnapd without this
   * call.
   */
  async daemonStatus(): Promise<DaemonStatus | undefined> {
    const connection = await this.#connected();
    try {
      return await connection.call(CALLS.daemonStatus, undefined);
    } catch (error) {
      // If the connection is still open, this is libvirtd's reply that it does not know the program.
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
    const { state } = await this.#call(CALLS.getState, { domain, flags: 0 });
    return DOMAIN_STATES[state] ?? 'nostate';
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

  async #call<A, R>(call: RemoteCall<A, R>, args: A): Promise<R> {
    const connection = await this.#connected();
    return connection.call(call, args);
  }

  #connected(): Promise<ClientConnection> {
    if (this.#ended.signal.aborted) {
      return Promise.reject(new LibvirtError('RPC', 'the connection to libvirtd has been closed', { domain: 'RPC' }));
    }
    if (!this.#connection) {
      clearTimeout(this.#reconnect);
      const connection = this.#open(() => this.#lost(connection));
      connection.catch(() => this.#lost(connection));
      this.#connection = connection;
    }
    return this.#connection;
  }

  /** Connects and makes the opening calls. */
  async #open(closed: () => void): Promise<ClientConnection> {
    const lifecycle = ({ domain, event, detail }: LifecycleMessage) => {
      for (const listener of this.#listeners) listener(domain, { event, detail });
    };
    const stop = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)]);
    const connection = await ClientConnection.connect(this.#options.path, { lifecycle, closed }, stop);
    const giveUp = () => connection[Symbol.dispose]();
    stop.addEventListener('abort', giveUp);
    try {
      await introduce(connection, this.#options);
      return connection;
    } catch (error) {
      giveUp();
      throw error;
    } finally {
      stop.removeEventListener('abort', giveUp);
    }
  }

  /** Called when this connection, or an attempt at one, has ended. */
  #lost(connection: Promise<ClientConnection>): void {
    if (this.#connection !== connection || this.#ended.signal.aborted) return;
    this.#connection = undefined;
    this.#reconnect = setTimeout(() => this.#connected().catch(() => {}), RECONNECT_INTERVAL_MS).unref();
  }
}
