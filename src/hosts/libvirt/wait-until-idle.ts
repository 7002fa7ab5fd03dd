/** A libvirtd ends what it was asked to do, though whoever asked is gone; until then the domain and its files are its. */

import { setTimeout } from 'node:timers/promises';
import { isLibvirtError, LibvirtError, throwIfCancelled } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import type { Upstream } from './upstream.ts';

/** A save takes as long as the memory is large; a job that is older than this will not end. */
const BUSY_TIMEOUT_MS = 3_600_000;
const BUSY_POLL_MS = 200;

/** What getJobStats says of a domain that is off or gone, and by a driver that has no jobs (test). */
const NO_JOB = ['OPERATION_INVALID', 'NO_DOMAIN', 'NO_SUPPORT'] as const;

/** Resolves when libvirtd has no job on the domain; OPERATION_TIMEOUT where that takes more than an hour. */
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
    // A job of qemu's that lets nobody in, not even to ask.
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
