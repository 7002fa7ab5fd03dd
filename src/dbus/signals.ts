/** Sends D-Bus signals about domains and their snapshots. */

import type { DomainRef } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { JobReport, SnapshotChange } from '../snapshots/api.ts';
import type { Signal } from './bus.ts';
import { signatureOf } from './interface.ts';
import { CONNECT, XLSNAP_DOMAIN } from './objects.ts';
import { domainPath, type Places, snapshotPath } from './paths.ts';

/** Shortest time between two signals about one job's bytes: enough for people, and it does not flood the bus. */
const PROGRESS_INTERVAL_MS = 250;

const MEMBERS = { created: 'SnapshotCreated', deleted: 'SnapshotDeleted', reverted: 'SnapshotReverted' } as const;

/** Turns changes of snapshots into signals; limits how often progress is signalled. */
export class Signals {
  readonly #places: Places;
  /** By UUID: the phase and time of the last signal. */
  readonly #sent = new Map<string, { readonly phase: string; readonly at: number }>();

  constructor(places: Places) {
    this.#places = places;
  }

  /** Returns undefined for progress that needs no signal. */
  of(change: SnapshotChange): Signal | undefined {
    const path = domainPath(this.#places, change.domain.uuid);
    if (change.kind === 'job') {
      return this.#isDue(change.domain, change.job) ? progressSignal(path, change.job) : undefined;
    }
    const { domain, name } = change;
    return ofDomain(path, MEMBERS[change.kind], [snapshotPath(this.#places, domain.uuid, name), name]);
  }

  #isDue({ uuid }: DomainRef, { phase, ended }: JobReport): boolean {
    const last = this.#sent.get(uuid);
    const now = performance.now();
    if (ended) this.#sent.delete(uuid);
    else if (last?.phase === phase && now - last.at < PROGRESS_INTERVAL_MS) return false;
    else this.#sent.set(uuid, { phase, at: now });
    return true;
  }
}

/** Returns the signal for a lifecycle event. */
export function domainEventSignal(places: Places, { uuid }: DomainRef, { event, detail }: LifecycleEvent): Signal {
  return {
    path: places.connect,
    interface: CONNECT.name,
    member: 'DomainEvent',
    signature: signatureOf(CONNECT.signals.DomainEvent ?? {}),
    values: [domainPath(places, uuid), event, detail],
  };
}

function progressSignal(path: string, { operation, snapshot, phase, progress }: JobReport): Signal {
  const { done, total } = progress ?? { done: 0, total: 0 };
  // The total is an estimate, so it need not be an integer.
  const bytes = [done, total].map((count) => BigInt(Math.round(count)));
  return ofDomain(path, 'JobProgress', [operation, snapshot, phase, ...bytes]);
}

function ofDomain(path: string, member: string, values: readonly unknown[]): Signal {
  const signature = signatureOf(XLSNAP_DOMAIN.signals[member] ?? {});
  return { path, interface: XLSNAP_DOMAIN.name, member, signature, values };
}
