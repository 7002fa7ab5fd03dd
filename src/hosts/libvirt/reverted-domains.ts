/**
 * Domains that are as a revert has left them. Their libvirtd knows of a restore or a destroy; clients are told what the
 * qemu driver tells after a revert: VIR_DOMAIN_RUNNING_FROM_SNAPSHOT, VIR_DOMAIN_PAUSED_FROM_SNAPSHOT,
 * VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT. In memory only: after a restart of ours libvirtd's own reason is told.
 */

import { type DomainState, REASONS } from '../../model/domain.ts';
import type { Upstream } from './upstream.ts';

/** How long libvirtd's events of the revert itself may be on their way after its calls have been answered. */
const OWN_EVENTS_MS = 2_000;

type RevertedState = keyof typeof REASONS;

export class RevertedDomains {
  readonly #domains = new Map<string, { readonly state: RevertedState; readonly since: number }>();

  /** What any later event of its domain says, libvirtd knows better. */
  constructor(upstream: Pick<Upstream, 'onLifecycle'>) {
    upstream.onLifecycle(({ uuid }) => {
      const reverted = this.#domains.get(uuid);
      if (reverted && performance.now() - reverted.since > OWN_EVENTS_MS) this.#domains.delete(uuid);
    });
  }

  /** False while there is no such domain. */
  any(): boolean {
    return this.#domains.size > 0;
  }

  /** A revert has just put the domain into this state. */
  add(uuid: string, state: RevertedState): void {
    this.#domains.set(uuid, { state, since: performance.now() });
  }

  /** The reason to tell with the state that libvirtd tells; undefined: its own. */
  reason(uuid: string, state: DomainState | undefined): number | undefined {
    const reverted = this.#domains.get(uuid);
    return reverted && reverted.state === state ? REASONS[reverted.state].fromSnapshot : undefined;
  }
}
