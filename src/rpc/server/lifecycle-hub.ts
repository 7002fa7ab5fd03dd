/** Lifecycle events on their way to clients: our own, and the upstream's, some of which are by-products of our work. */

import type { DomainRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports.ts';
import { type CallbackID, type LifecycleMessage, lifecycleFrame } from '../wire/messages.ts';

/**
 * How long an upstream event may still be on its way to a client when the call that caused it has been answered on
 * another connection. It is a local socket's delay and a busy machine's; a genuine event of the same kind within it is
 * taken for the expected one.
 */
const EVENT_GRACE_MS = 2_000;

/** One registration of a client for lifecycle events. */
interface Callback {
  readonly id: CallbackID;
  /** Domain it is about; absent: all. */
  readonly uuid: string | undefined;
  /** Its place in the order of all registrations. */
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
  register(callbackID: CallbackID, uuid: string | undefined): void;
  /** False where there is no such registration. */
  deregister(callbackID: CallbackID): boolean;
  /** What the client is to see of an event that the upstream has sent for it: itself, another, or nothing. */
  translate(message: LifecycleMessage): LifecycleEvent | undefined;
}

/** All clients' registrations. */
export class LifecycleHub implements LifecycleEvents {
  readonly #clients = new Map<Map<CallbackID, Callback>, (frame: Buffer) => void>();
  readonly #expectations = new Set<Expectation>();
  #callbacks = 0;

  /** `send` gets whole frames, one per callback that is to be told. */
  attach(send: (frame: Buffer) => void): EventClient {
    const callbacks = new Map<CallbackID, Callback>();
    this.#clients.set(callbacks, send);
    return {
      register: (id, uuid) => {
        this.#callbacks += 1;
        callbacks.set(id, { id, uuid, number: this.#callbacks });
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
    for (const [callbacks, send] of this.#clients) {
      for (const { id, uuid } of callbacks.values()) {
        if (uuid === undefined || uuid === ref.uuid) send(lifecycleFrame(id, ref, event));
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
