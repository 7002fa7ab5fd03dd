/** Events for clients: block jobs', and lifecycle events: our own, and the upstream's, some of which are by-products of our work. */

import { LibvirtError } from '../../errors.ts';
import type { BlockJobEvent } from '../../model/blocks/block-job.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { BlockJobEvents } from '../../snapshots/block-jobs/ports.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import { blockJobFrame, type CallbackID, type LifecycleMessage, lifecycleFrames } from '../wire/messages.ts';
import { EVENT_ID } from '../wire/procedures.ts';

/**
 * An upstream event may arrive this much later than the reply, on another connection, to the call that caused it. It is
 * a local socket's delay and a busy machine's; a genuine event of the same kind within this time counts as the expected
 * one.
 */
const EVENT_GRACE_MS = 2_000;

/**
 * Registrations of one client, of all events: virsh event --all makes 26 of them, and one a domain are some hundreds.
 */
const REGISTRATIONS_MAX = 1_024;

/** One registration of a client. Only those for lifecycle events and block jobs are served from here. */
interface Callback {
  readonly id: CallbackID;
  readonly eventID: number;
  /** UUID of its domain; absent: all domains. */
  readonly uuid: string | undefined;
  /** Position in the order of all registrations. */
  readonly number: number;
}

interface Expectation {
  readonly uuid: string;
  readonly event: LifecycleEvent;
  readonly as: LifecycleEvent | undefined;
  /** Every callback gets its own copy of the upstream's event, so each takes it from here once. */
  readonly seenBy: Set<Callback>;
  /** Once disposed of: when it ends, and the last callback that can have been sent the event. */
  ends: number;
  lastCallback: number;
}

/** A client's part of the hub. Disposing of it ends its registrations. */
export interface EventClient extends Disposable {
  /** Throws if the client has as many registrations as one may have. */
  checkRoom(): void;
  /** `eventID`: absent for lifecycle events. */
  register(callbackID: CallbackID, uuid: string | undefined, eventID?: number): void;
  /** Returns false if there is no such registration. */
  deregister(callbackID: CallbackID): boolean;
  /** Returns what the client gets for an event of the upstream: that event, another, or nothing. */
  translate(message: LifecycleMessage): LifecycleEvent | undefined;
}

type Send = (frames: Buffer) => void;

/** Has events that the client may see sent to it, in their order. */
type Deliver = (ref: DomainRef, frames: Buffer) => void;

/** All clients' registrations. */
export class LifecycleHub implements LifecycleEvents, BlockJobEvents {
  readonly #clients = new Map<Map<CallbackID, Callback>, Deliver>();
  readonly #expectations = new Set<Expectation>();
  #callbacks = 0;

  /**
   * `send` gets whole frames: of one event, one for each callback. `sees` decides which domains the client gets events of;
   * absent: all. It never rejects.
   */
  attach(send: Send, sees?: (ref: DomainRef) => Promise<boolean>): EventClient {
    const callbacks = new Map<CallbackID, Callback>();
    this.#clients.set(callbacks, sees ? judged(send, sees) : (_ref, frames) => send(frames));
    return {
      checkRoom: () => {
        if (callbacks.size < REGISTRATIONS_MAX) return;
        throw new LibvirtError('RPC', `more than ${REGISTRATIONS_MAX} events of one client`, { domain: 'RPC' });
      },
      register: (id, uuid, eventID = EVENT_ID.LIFECYCLE) => {
        this.#callbacks += 1;
        callbacks.set(id, { id, eventID, uuid, number: this.#callbacks });
      },
      deregister: (id) => callbacks.delete(id),
      translate: (message) => {
        const callback = callbacks.get(message.callbackID);
        return callback ? this.#translate(callback, message) : message;
      },
      [Symbol.dispose]: () => {
        this.#clients.delete(callbacks);
      },
    };
  }

  emit(ref: DomainRef, event: LifecycleEvent): void {
    const frames = lifecycleFrames(ref, event);
    for (const [callbacks, deliver] of this.#clients) {
      const ids = [...callbacks.values()].filter((each) => concerns(each, ref)).map(({ id }) => id);
      if (ids.length > 0) deliver(ref, frames(ids));
    }
  }

  /** To those that registered for BLOCK_JOB, with the image's path, and for BLOCK_JOB_2, with the disk's target. */
  emitBlockJob(ref: DomainRef, event: BlockJobEvent): void {
    for (const [callbacks, deliver] of this.#clients) {
      for (const { id, eventID, uuid } of callbacks.values()) {
        const isAsked = eventID === EVENT_ID.BLOCK_JOB || eventID === EVENT_ID.BLOCK_JOB_2;
        if (id === 'legacy' || !isAsked || (uuid !== undefined && uuid !== ref.uuid)) continue;
        deliver(ref, blockJobFrame(id, ref, event, eventID === EVENT_ID.BLOCK_JOB ? 'path' : 'disk'));
      }
    }
  }

  expect(uuid: string, event: LifecycleEvent, as?: LifecycleEvent): Disposable {
    this.#forgetEnded();
    const expectation: Expectation = {
      uuid,
      event,
      as,
      seenBy: new Set(),
      ends: Number.POSITIVE_INFINITY,
      lastCallback: Number.POSITIVE_INFINITY,
    };
    this.#expectations.add(expectation);
    return {
      [Symbol.dispose]: () => {
        expectation.ends = Math.min(expectation.ends, performance.now() + EVENT_GRACE_MS);
        expectation.lastCallback = Math.min(expectation.lastCallback, this.#callbacks);
      },
    };
  }

  #translate(callback: Callback, { domain, event, detail }: LifecycleMessage): LifecycleEvent | undefined {
    this.#forgetEnded();
    for (const expected of this.#expectations) {
      if (expected.uuid !== domain.uuid || expected.event.event !== event || expected.event.detail !== detail) continue;
      if (expected.seenBy.has(callback) || callback.number > expected.lastCallback) continue;
      expected.seenBy.add(callback);
      return expected.as;
    }
    return { event, detail };
  }

  #forgetEnded(): void {
    const now = performance.now();
    for (const expectation of this.#expectations) if (expectation.ends < now) this.#expectations.delete(expectation);
  }
}

/** One event is decided about after the other. */
function judged(send: Send, sees: (ref: DomainRef) => Promise<boolean>): Deliver {
  let last = Promise.resolve();
  return (ref, frames) => {
    last = last.then(async () => {
      if (await sees(ref)) send(frames);
    });
  };
}

const concerns = ({ eventID, uuid }: Callback, ref: DomainRef): boolean =>
  eventID === EVENT_ID.LIFECYCLE && (uuid === undefined || uuid === ref.uuid);
