/** What happens to domains and their snapshots, as D-Bus signals. */

import type { DomainRef } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { JobReport, SnapshotChange } from '../snapshots/api.ts';
import type { Signal } from './bus.ts';
import { signatureOf } from './interface.ts';
import { CONNECT, XLSNAP_DOMAIN } from './objects.ts';
import { domainPath, type Places, snapshotPath } from './paths.ts';

/** Between two signals about the bytes of one job: a person sees no more, and a bus has others to serve. */
const PROGRESS_INTERVAL_MS = 250;

const MEMBERS = { created: 'SnapshotCreated', deleted: 'SnapshotDeleted', reverted: 'SnapshotReverted' } as const;

export class Signals {
  readonly #places: Places;
  /** By UUID: the phase that was told last, and when. */
  readonly #told = new Map<string, { readonly phase: string; readonly at: number }>();

  constructor(places: Places) {
    this.#places = places;
  }

  /** Undefined for progress that is not worth a signal of its own. */
  of(change: SnapshotChange): Signal | undefined {
    const path = domainPath(this.#places, change.domain.uuid);
    if (change.kind === 'job') {
      return this.#isDue(change.domain, change.job) ? progressSignal(path, change.job) : undefined;
    }
    const { domain, name } = change;
    return ofDomain(path, MEMBERS[change.kind], [snapshotPath(this.#places, domain.uuid, name), name]);
  }

  #isDue({ uuid }: DomainRef, { phase, ended }: JobReport): boolean {
    const last = this.#told.get(uuid);
    const now = performance.now();
    if (ended) this.#told.delete(uuid);
    else if (last?.phase === phase && now - last.at < PROGRESS_INTERVAL_MS) return false;
    else this.#told.set(uuid, { phase, at: now });
    return true;
  }
}

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
  // The total is an estimate: it need not be whole.
  const bytes = [done, total].map((count) => BigInt(Math.round(count)));
  return ofDomain(path, 'JobProgress', [operation, snapshot, phase, ...bytes]);
}

function ofDomain(path: string, member: string, values: readonly unknown[]): Signal {
  const signature = signatureOf(XLSNAP_DOMAIN.signals[member] ?? {});
  return { path, interface: XLSNAP_DOMAIN.name, member, signature, values };
}
