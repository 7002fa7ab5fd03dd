/** Reports when a domain has gone for good. */

import { isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../model/events.ts';
import type { Upstream } from './upstream.ts';

const is = (event: LifecycleEvent, kind: LifecycleEvent): boolean =>
  event.event === kind.event && event.detail === kind.detail;

/**
 * A domain has gone if libvirtd no longer knows it after it was undefined or has stopped. A transient domain that is
 * saved or destroyed only to be restored has not gone: its snapshots stay, even if the restore fails.
 */
export class Departures {
  readonly #upstream: Upstream;
  readonly #returning = new Set<string>();
  readonly #listeners = new Set<(ref: DomainRef) => void>();

  constructor(upstream: Upstream) {
    this.#upstream = upstream;
    upstream.onLifecycle((domain, event) => void this.#see(domain, event));
  }

  onGone(listener: (ref: DomainRef) => void): void {
    this.#listeners.add(listener);
  }

  /** Runs `stop`, which stops a domain that will be started again from a memory image. */
  async withReturn<T>({ uuid }: DomainRef, stop: () => Promise<T>): Promise<T> {
    this.#returning.add(uuid);
    try {
      return await stop();
    } catch (error) {
      this.#returning.delete(uuid);
      throw error;
    }
  }

  async #see(domain: DomainRef, event: LifecycleEvent): Promise<void> {
    if (event.event === LIFECYCLE.STARTED_BOOTED.event) this.#returning.delete(domain.uuid);
    const mayBeGone = is(event, LIFECYCLE.UNDEFINED_REMOVED) || event.event === LIFECYCLE.STOPPED_SHUTDOWN.event;
    if (!mayBeGone || this.#returning.has(domain.uuid)) return;
    const gone = await this.#upstream.lookupByUUID(domain.uuid).then(
      () => false,
      (error) => isLibvirtError(error, 'NO_DOMAIN'),
    );
    if (gone) for (const listener of this.#listeners) listener(domain);
  }
}
