/** Keeps libvirtd watching a domain that was suspended and resumed without it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { asLibvirtError } from '../../errors.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import { hideEvents } from './hidden-events.ts';
import { isSameDomain } from './save-rules.ts';
import { SUSPEND_TARGET_MEM, type Upstream } from './upstream.ts';

/** One failed call must not leave a guest suspended. */
const WAKEUP_ATTEMPTS = 5;
const WAKEUP_INTERVAL_MS = 500;

interface DeathWatchOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  /** Gets sentences for the administrator. */
  readonly log: (text: string) => void;
}

/**
 * libxl reports a domain's shutdown once per request. libvirtd drops the report of a suspend that is not its own, and
 * requests the next one only in virDomainPMWakeup. Without that, libvirtd would never notice the next poweroff, reboot
 * or crash of the guest. So libvirtd suspends the guest once more and wakes it up.
 */
export class DeathWatch {
  readonly #upstream: Upstream;
  readonly #events: LifecycleEvents;
  readonly #log: (text: string) => void;

  constructor({ upstream, events, log }: DeathWatchOptions) {
    this.#upstream = upstream;
    this.#events = events;
    this.#log = log;
  }

  /**
   * Never rejects, because the snapshot has been taken. Logs a failure, with the commands that repair it. Also repairs
   * a guest that a crash of this daemon has left between the two steps.
   */
  async rearm({ ref }: Domain): Promise<void> {
    using _hidden = hideEvents(this.#events, ref.uuid, [LIFECYCLE.PMSUSPENDED_MEMORY, LIFECYCLE.STARTED_WAKEUP]);
    try {
      // A domain that has ended needs no watch, and libvirtd watches one that it has started since.
      if (!(await isSameDomain(this.#upstream, ref))) return;
      await this.#suspend(ref);
    } catch (error) {
      const suspend = domainCommand({ program: 'virsh', command: 'dompmsuspend', domain: ref, args: ['mem'] });
      this.#log(
        `libvirtd may no longer notice when domain '${ref.name}' shuts down: ${asLibvirtError(error).message}; ` +
          `restart libvirtd, or run: ${suspend} && ${wakeUp(ref)}`,
      );
      return;
    }
    await this.#wakeUp(ref).catch((error) => {
      this.#log(`domain '${ref.name}' is still suspended: ${asLibvirtError(error).message}; ` + `run: ${wakeUp(ref)}`);
    });
  }

  /** A call that failed may still have suspended the guest, so its state decides. */
  async #suspend(ref: DomainRef): Promise<void> {
    try {
      await this.#upstream.pmSuspendForDuration(ref, SUSPEND_TARGET_MEM);
    } catch (error) {
      if ((await this.#upstream.getState(ref)) !== 'pmsuspended') throw error;
    }
  }

  async #wakeUp(ref: DomainRef): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#upstream.pmWakeup(ref);
        return;
      } catch (error) {
        if (attempt === WAKEUP_ATTEMPTS) throw error;
        await sleep(WAKEUP_INTERVAL_MS);
      }
    }
  }
}

function wakeUp(domain: DomainRef): string {
  return domainCommand({ program: 'virsh', command: 'dompmwakeup', domain });
}
