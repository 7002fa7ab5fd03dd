/** The client's side of a libvirtd or xlsnapd: a connection that makes the opening calls, and is made again when it is lost. */

import { readlink, stat } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import type { PeerCredentials } from '../../access/caller.ts';
import { LibvirtError } from '../../errors.ts';
import { ClientConnection, type EventMessage, type RemoteCall } from './connection.ts';
import { type Introduction, introduce } from './introduction.ts';
import { dialSocket } from './transport.ts';

/** Interval at which a lost connection is tried again, so that events are received from libvirtd's restart on. */
const RECONNECT_INTERVAL_MS = 1_000;
/** From connect() to the end of CONNECT_OPEN. A libvirtd that is starting its drivers answers late. */
const OPEN_TIMEOUT_MS = 30_000;

/** Whom to connect with, and how. */
export interface ChannelOptions extends Introduction {
  /** Makes the stream. Default: the socket `path` of this machine. */
  readonly dial?: (signal: AbortSignal) => Promise<Duplex>;
  /** Returns who is at the other end of a socket. Absent: nobody can say. */
  readonly peerOf?: (fd: number) => PeerCredentials | undefined;
  /** Ends the channel when aborted, as disposing of it does. */
  readonly signal?: AbortSignal;
  /** Default true: a lost connection is made again, by the next call or a timer. If not, its end is the channel's. */
  readonly reconnects?: boolean;
}

type EventListener = (message: EventMessage) => void;
/** `error` is absent if the channel was disposed of. */
type EndListener = (error?: LibvirtError) => void;

/** If the connection is lost, running calls fail with an error that says that their outcome is not known. */
export class Channel implements Disposable {
  readonly #options: ChannelOptions;
  readonly #ended = new AbortController();
  readonly #listeners = new Set<EventListener>();
  readonly #atEnd = new Set<EndListener>();
  #connection: Promise<ClientConnection> | undefined;
  #reconnect: NodeJS.Timeout | undefined;

  private constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** Rejects if nobody answers, or if this client is refused. */
  static async open(options: ChannelOptions): Promise<Channel> {
    const channel = new Channel(options);
    options.signal?.addEventListener('abort', () => channel[Symbol.dispose](), { once: true });
    try {
      if (options.signal?.aborted) channel[Symbol.dispose]();
      await channel.connected();
    } catch (error) {
      channel[Symbol.dispose]();
      throw error;
    }
    return channel;
  }

  /** The user who owns the socket. */
  async socketOwner(): Promise<number> {
    return (await stat(this.#options.path)).uid;
  }

  /** True if a process of this host's number N is N under /proc for the libvirtd, too: it is in the same process namespace. */
  async sharesProcesses(): Promise<boolean> {
    const { fd } = await this.connected();
    const pid = fd === undefined ? undefined : this.#options.peerOf?.(fd)?.pid;
    // One that cannot be seen from here has the number 0.
    if (pid === undefined || pid <= 0) return false;
    const [ours, theirs] = await Promise.all(['self', pid].map((of) => readlink(`/proc/${of}/ns/pid`).catch(() => of)));
    return ours === theirs;
  }

  /** Calls back with all events that arrive. Events while there is no connection are lost. Returns how to end that. */
  onEvent(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back once, when the channel has ended for good. Returns how to end that. */
  onEnd(listener: EndListener): () => void {
    this.#atEnd.add(listener);
    return () => this.#atEnd.delete(listener);
  }

  async call<A, R>(call: RemoteCall<A, R>, args: A): Promise<R> {
    const connection = await this.connected();
    return connection.call(call, args);
  }

  /** The connection, which is made if there is none. */
  connected(): Promise<ClientConnection> {
    if (this.#ended.signal.aborted) {
      return Promise.reject(new LibvirtError('RPC', 'the connection to libvirtd has been closed', { domain: 'RPC' }));
    }
    if (!this.#connection) {
      clearTimeout(this.#reconnect);
      const connection = this.#open((error) => this.#lost(connection, error));
      connection.catch((error) => this.#lost(connection, error));
      this.#connection = connection;
    }
    return this.#connection;
  }

  /** Running calls fail; nothing connects again. */
  [Symbol.dispose](): void {
    this.#end();
  }

  #end(error?: LibvirtError): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    clearTimeout(this.#reconnect);
    this.#connection?.then((connection) => connection[Symbol.dispose]()).catch(() => {});
    for (const listener of this.#atEnd) listener(error);
    this.#atEnd.clear();
  }

  /** Connects and makes the opening calls. */
  async #open(closed: (error: LibvirtError) => void): Promise<ClientConnection> {
    const { path, dial = (signal) => dialSocket(path, signal) } = this.#options;
    const event = (message: EventMessage): void => {
      for (const listener of this.#listeners) listener(message);
    };
    const stop = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(OPEN_TIMEOUT_MS)]);
    const connection = new ClientConnection(path, await dial(stop), { event, closed });
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
  #lost(connection: Promise<ClientConnection>, error: LibvirtError): void {
    if (this.#connection !== connection || this.#ended.signal.aborted) return;
    this.#connection = undefined;
    if (this.#options.reconnects === false) this.#end(error);
    else this.#reconnect = setTimeout(() => this.connected().catch(() => {}), RECONNECT_INTERVAL_MS).unref();
  }
}
