/** Serves the daemon's objects on a message bus: owns the names, sends signals, and reconnects if the bus goes away. */

import { setTimeout as delay } from 'node:timers/promises';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { SnapshotChange } from '../snapshots/api.ts';
import { busSocket } from './address.ts';
import { Bus, type Call, type Reply, type Signal } from './bus.ts';
import type { Callers } from './callers.ts';
import { dispatch, refusal } from './dispatch.ts';
import type { Served } from './objects.ts';
import { domainEventSignal, Signals } from './signals.ts';

/** Our own name, which is always owned. */
const OWN_NAME = 'org.xlsnap';

/** libvirt-dbus' name: owned, too, if no libvirt-dbus runs or can be started. */
const LIBVIRT_NAME = 'org.libvirt';

/** Delay before the next attempt to connect: doubled each time, up to the maximum. */
const RETRY_MS = { first: 1_000, most: 60_000 } as const;

interface DbusOptions {
  /** `system`, `session`, or the bus' address. */
  readonly bus: string;
  readonly served: Served;
  /** Who may call, and what. */
  readonly callers: Callers;
  readonly log: Readonly<Record<'info' | 'warning', (text: string) => void>>;
}

/** Serves on the bus until disposed of. Reports problems with the connection only to the log. */
export class DbusFront implements AsyncDisposable {
  readonly #options: DbusOptions;
  readonly #socket: string;
  readonly #signals: Signals;
  readonly #stop = new AbortController();
  /** Set while there is a connection that owns its name. */
  #bus: Bus | undefined;
  #ended: Promise<void> = Promise.resolve();
  /** The last problem, so that repeated attempts log it only once. */
  #complaint: string | undefined;

  private constructor(options: DbusOptions) {
    this.#options = options;
    this.#socket = busSocket(options.bus);
    this.#signals = new Signals(options.served.places);
  }

  /** Resolves after the first attempt, successful or not. Rejects (INVALID_ARG) a malformed address. */
  static async open(options: DbusOptions): Promise<DbusFront> {
    const front = new DbusFront(options);
    await new Promise<void>((resolve) => {
      front.#ended = front.#serve(resolve);
    });
    return front;
  }

  snapshotChanged(change: SnapshotChange): void {
    this.#emit(this.#signals.of(change));
  }

  domainEvent(domain: DomainRef, event: LifecycleEvent): void {
    this.#emit(domainEventSignal(this.#options.served.places, domain, event));
  }

  /** The names are free when it resolves. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  #emit(signal: Signal | undefined): void {
    if (signal) this.#bus?.emit(signal);
  }

  async #serve(tried: () => void): Promise<void> {
    const { signal } = this.#stop;
    for (let wait: number = RETRY_MS.first; !signal.aborted; wait = Math.min(2 * wait, RETRY_MS.most)) {
      try {
        if (await this.#serveOnce(tried)) wait = RETRY_MS.first;
      } catch (error) {
        if (!signal.aborted) this.#complain(`D-Bus: ${asLibvirtError(error).detail}`);
      }
      tried();
      await delay(wait, undefined, { signal }).catch(() => {});
    }
  }

  /** Serves one connection until it ends. Returns true if it owned its name. */
  async #serveOnce(tried: () => void): Promise<boolean> {
    const { bus: where, log } = this.#options;
    await using bus = await Bus.connect({
      socket: this.#socket,
      answer: (call, from) => this.#answer(call, from),
      log: log.warning,
      signal: this.#stop.signal,
    });
    const names = await this.#ownNames(bus);
    log.info(`serving on the message bus (${where}) as ${names.join(' and ')}`);
    this.#complaint = undefined;
    this.#bus = bus;
    tried();
    await Promise.race([bus.closed, aborted(this.#stop.signal)]);
    this.#bus = undefined;
    const lost = `D-Bus: the connection to the message bus (${where}) was lost, trying again`;
    if (!this.#stop.signal.aborted) this.#complain(lost);
    return true;
  }

  async #ownNames(bus: Bus): Promise<readonly string[]> {
    const owned = await bus.requestName(OWN_NAME).catch((error) => {
      const advice = 'install the bus policy org.xlsnap.conf, or switch this off with --dbus none';
      throw new LibvirtError('OPERATION_FAILED', `${asLibvirtError(error).detail} (${advice})`, { cause: error });
    });
    if (!owned) {
      const text = `another program owns the bus name ${OWN_NAME}: end it, or switch this off with --dbus none`;
      throw new LibvirtError('OPERATION_FAILED', text);
    }
    if (await bus.isProvided(LIBVIRT_NAME)) return [OWN_NAME];
    // The bus' policy may forbid it, which is accepted: it is only a second name.
    const both = await bus.requestName(LIBVIRT_NAME).catch(() => false);
    return both ? [OWN_NAME, LIBVIRT_NAME] : [OWN_NAME];
  }

  async #answer(call: Call, bus: Bus): Promise<Reply> {
    const { served, callers } = this.#options;
    if (call.interface === 'org.freedesktop.DBus.Peer') return await dispatch(served, call);
    const caller = await bus.credentials(call.sender);
    const admitted = await callers.admit(served, call.sender, caller);
    return 'refused' in admitted ? refusal('AccessDenied', admitted.refused) : await dispatch(admitted, call);
  }

  #complain(text: string): void {
    if (text !== this.#complaint) this.#options.log.warning(text);
    this.#complaint = text;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
