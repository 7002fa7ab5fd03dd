/** libvirtd finishes a job even if its client has disconnected. Until then do not touch the domain or its files. */

import { setTimeout } from 'node:timers/promises';
import { isLibvirtError, LibvirtError, throwIfCancelled } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import type { Upstream } from './upstream.ts';

/** The longest save of a large guest takes less; a job that runs longer will not end. */
const BUSY_TIMEOUT_MS = 3_600_000;
const BUSY_POLL_MS = 200;

/** Errors of getJobStats for a domain that is off or gone, and of a driver that has no jobs (test). */
const NO_JOB = ['OPERATION_INVALID', 'NO_DOMAIN', 'NO_SUPPORT'] as const;

/** Resolves when libvirtd has no job on the domain; rejects (OPERATION_TIMEOUT) after an hour. */
export async function upstreamIdle(
  upstream: Upstream,
  ref: DomainRef,
  { signal, waiting = () => {} }: { readonly signal: AbortSignal; waiting?(): void },
): Promise<void> {
  if (!(await isBusy(upstream, ref))) return;
  waiting();
  const end = Date.now() + BUSY_TIMEOUT_MS;
  do {
    if (Date.now() > end) throw tooLong(ref);
    await setTimeout(BUSY_POLL_MS, undefined, { signal }).catch(() => throwIfCancelled(signal));
  } while (await isBusy(upstream, ref));
}

async function isBusy(upstream: Upstream, ref: DomainRef): Promise<boolean> {
  try {
    return (await upstream.getJobStats(ref, 0)).type !== 0;
  } catch (error) {
    // The qemu driver has a job that blocks even this query.
    if (isLibvirtError(error, 'OPERATION_TIMEOUT')) return true;
    if (NO_JOB.some((code) => isLibvirtError(error, code))) return false;
    throw error;
  }
}

function tooLong(domain: DomainRef): LibvirtError {
  const text =
    `libvirtd has been at work on domain '${domain.name}' for more than ${BUSY_TIMEOUT_MS / 60_000} minutes: ` +
    `restart xlsnapd when the job has ended; to see it: ${domainCommand({ program: 'virsh', command: 'domjobinfo', domain })}`;
  return new LibvirtError('OPERATION_TIMEOUT', text);
}
