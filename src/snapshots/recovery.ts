/** What a daemon does at its start about operations that its predecessor did not finish. */

import { asLibvirtError, isLibvirtError } from '../errors.ts';
import type { Domain, DomainRef } from '../model/domain.ts';
import type { SnapshotContext } from './context.ts';
import type { PendingOperation } from './ports.ts';
import { takeBack } from './take-back.ts';

/** Whether a snapshot is listed, that is, was reported as taken. */
export type IsListed = (domain: DomainRef, snapshot: string) => boolean;

/**
 * A guest that was left stopped runs again; a create that was not recorded is taken back whole; an interrupted revert or
 * delete, which can be run again, is reported with the command that finishes it. All in plain words to the log. What
 * fails stays in the journal for the next start.
 */
export async function recover(context: SnapshotContext, isListed: IsListed): Promise<void> {
  const interruptions = await context.journal.pending().catch((error) => {
    context.log(asLibvirtError(error).message);
    return [];
  });
  for (const pending of interruptions) {
    const about = `${pending.operation} of snapshot '${pending.snapshot}' of domain '${pending.domain.name}'`;
    const interrupted = `${about} was interrupted in phase '${pending.phase}'`;
    try {
      context.log(`${interrupted}: ${await finish(context, pending, isListed)}`);
      await context.journal.end(pending.domain);
    } catch (error) {
      context.log(`${interrupted} and could not be mended: ${asLibvirtError(error).message}`);
    }
  }
}

/** Mends one, and says what was done or is to be done. */
async function finish(context: SnapshotContext, pending: PendingOperation, isListed: IsListed): Promise<string> {
  const { domain: ref, snapshot, operation } = pending;
  const domain = await context.host.lookup(ref).catch((error) => {
    if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
  });
  if (!domain) {
    const image = context.memory.path(ref, snapshot);
    return `the domain is gone; where it had been saved to '${image}', 'virsh restore' of that file brings it back`;
  }
  const { name } = domain.ref;
  switch (operation) {
    case 'create':
      return await finishCreate(context, pending, domain, isListed);
    case 'revert':
      return `the domain is ${domain.state}; run 'virsh snapshot-revert ${name} ${snapshot}' to finish it`;
    case 'delete':
      return isListed(domain.ref, snapshot)
        ? `run 'virsh snapshot-delete ${name} ${snapshot}' to finish it`
        : 'it had been finished';
    default:
      return 'only metadata was concerned, nothing is to be done';
  }
}

async function finishCreate(
  context: SnapshotContext,
  { snapshot, phase, args }: PendingOperation,
  domain: Domain,
  isListed: IsListed,
): Promise<string> {
  if (!args) return 'nothing had been done yet';
  const { host } = context;
  const { memory_path } = args;
  await host.recover(domain, { phase, ...(memory_path !== undefined && { memoryPath: memory_path }) });
  if (isListed(domain.ref, snapshot)) return 'it had been finished';
  const job = { signal: new AbortController().signal, progress: () => {} };
  await takeBack(context, await host.lookup(domain.ref), snapshot, args, job);
  const { state } = await host.lookup(domain.ref);
  return `it was taken back; the domain is ${state}`;
}
