/**
 * Domains that are still in the state in which a revert has left them. libvirtd knows only of a restore or a destroy;
 * clients get the reason that the qemu driver reports after a revert: VIR_DOMAIN_RUNNING_FROM_SNAPSHOT,
 * VIR_DOMAIN_PAUSED_FROM_SNAPSHOT, VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT. In memory only: after a restart of xlsnapd clients
 * get libvirtd's own reason.
 */

import { type DomainState, REASONS } from '../../model/domain.ts';
import type { Upstream } from './upstream.ts';

/** libvirtd's events of the revert itself may arrive this long after the replies to its calls. */
const OWN_EVENTS_MS = 2_000;

type RevertedState = keyof typeof REASONS;

/** The set of these domains, by UUID. */
export class RevertedDomains {
  readonly #domains = new Map<string, { readonly state: RevertedState; readonly since: number }>();

  /** After any later event of the domain libvirtd's own reason is right again. */
  constructor(upstream: Pick<Upstream, 'onLifecycle'>) {
    upstream.onLifecycle(({ uuid }) => {
      const reverted = this.#domains.get(uuid);
      if (reverted && performance.now() - reverted.since > OWN_EVENTS_MS) this.#domains.delete(uuid);
    });
  }

  /** Returns false if there is no such domain. */
  any(): boolean {
    return this.#domains.size > 0;
  }

  /** Call after a revert has put the domain into this state. */
  add(uuid: string, state: RevertedState): void {
    this.#domains.set(uuid, { state, since: performance.now() });
  }

  /** The reason to report with the state that libvirtd reports; undefined: libvirtd's own reason. */
  reason(uuid: string, state: DomainState | undefined): number | undefined {
    const reverted = this.#domains.get(uuid);
    return reverted && reverted.state === state ? REASONS[reverted.state].fromSnapshot : undefined;
  }
}
