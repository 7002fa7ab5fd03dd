/** Recovers, when the daemon starts, the operations that an earlier daemon did not finish. */

import { asLibvirtError, isLibvirtError, neverAborted } from '../errors.ts';
import type { DiskImage } from '../model/disk-image.ts';
import { movesOnto } from '../model/disk-image.ts';
import { type Domain, type DomainRef, isActive } from '../model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import { domainCommand, shellCommand } from '../model/messages/shell-command.ts';
import { virshCommand } from '../model/messages/virsh-command.ts';
import { internalDisks } from '../xml/snapshot/libxl-args.ts';
import { withWayOut } from './after-failure.ts';
import { sharedImages } from './chains/shared-images.ts';
import type { SnapshotContext } from './context.ts';
import { undoCreate } from './create/undo.ts';
import { deleteUnlocked } from './delete/delete.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { PendingOperation } from './ports/journal.ts';

/** The job of a recovery: its record is in the journal already, and nobody can cancel it. */
const RECOVERING = {
  signal: neverAborted(),
  phase: async () => {},
  progress: () => {},
  commit: () => {},
};

/**
 * Makes a guest that was left stopped run again; undoes a create that was not recorded; continues a delete; reports a
 * revert, which would end a domain that runs now, with the command that finishes it. Logs all of that in plain words. A
 * record whose recovery fails stays in the journal for the next start.
 *
 * Resolves when all of that is done, except for domains on which their owner still has a job: those are recovered when
 * that job ends, and before any other operation on the domain.
 */
export async function recover(context: SnapshotContext): Promise<void> {
  const { journal, log } = context;
  const records = await journal.pending().catch((error) => [{ uuid: '', error: asLibvirtError(error) }]);
  for (const pending of records) {
    if ('error' in pending) log(pending.error.message);
    else await mend(context, pending);
  }
}

/** Resolves when the record is recovered, or has to wait. Never rejects. */
function mend(context: SnapshotContext, pending: PendingOperation): Promise<void> {
  const { host, jobs, journal, log } = context;
  const { operation, snapshot, domain, phase } = pending;
  const about = `${operation} of snapshot '${snapshot}' of domain '${domain.name}'`;
  const interrupted = `${about} was interrupted in phase '${phase}'`;
  return new Promise((resolve) => {
    const waiting = (): void => {
      log(`${interrupted}: it will be recovered when libvirtd has finished with the domain`);
      resolve();
    };
    jobs
      .exclusive(domain, async (stopping) => {
        await host.idle(domain, { signal: stopping, waiting });
        log(`${interrupted}: ${await finish(context, pending)}`);
        await journal.end(domain);
      })
      .catch((error) => log(`${interrupted} and could not be recovered: ${asLibvirtError(error).message}`))
      .finally(resolve);
  });
}

/** Looks the domain up; undefined if it is gone. */
async function lookup(host: SnapshotContext['host'], ref: DomainRef): Promise<Domain | undefined> {
  return await host.lookup(ref).catch((error) => {
    if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
    return undefined;
  });
}

/** Recovers one operation. Returns what was done, or what the administrator has to do. */
async function finish(context: SnapshotContext, pending: PendingOperation): Promise<string> {
  const { domain: ref, snapshot, operation, phase, mechanism, definition } = pending;
  const { host, memory } = context;
  if (phase === 'begun' || phase === 'validate') return 'nothing had been done yet';
  const memoryPath = pending.args ? pending.args.memory_path : memory.path(ref, snapshot);
  if (memoryPath !== undefined) await memory.check(memoryPath);
  const left = (await lookup(host, ref)) ?? { ref: { ...ref, id: -1 }, state: 'shutoff', persistent: false };
  await host.recover(left, {
    ...{ operation, phase },
    ...(mechanism && { mechanism }),
    ...(memoryPath !== undefined && { memoryPath }),
    ...(definition !== undefined && { definition }),
  });
  const domain = await lookup(host, ref);
  if (!domain) {
    const image = memory.path(ref, snapshot);
    return `the domain is gone; if it had been saved, this brings it back: ${shellCommand('virsh', 'restore', image)}`;
  }
  const snapshots = await context.snapshotsOf(domain.ref);
  switch (operation) {
    case 'create':
      return await finishCreate(context, pending, snapshots);
    case 'revert':
      return await finishRevert(context, pending, snapshots);
    case 'delete':
      return await finishDelete(context, pending, snapshots);
    case 'redefine':
      return 'only metadata was concerned, nothing is to be done';
  }
}

async function finishCreate(
  context: SnapshotContext,
  { domain: ref, snapshot, phase, args }: PendingOperation,
  snapshots: DomainSnapshots,
): Promise<string> {
  const domain = await context.host.lookup(ref);
  if (snapshots.tree.has(snapshot)) {
    // The snapshot's file may still have the name of a partial file.
    await snapshots.put(await snapshots.read(snapshot), snapshots.current?.name === snapshot);
    // The domain may have been started again since.
    const halt = phase === 'halt' && isActive(domain);
    return halt
      ? `it had been taken; to halt the domain: ${domainCommand({ program: 'virsh', command: 'destroy', domain: domain.ref })}`
      : 'it had been finished';
  }
  if (!args) return 'nothing had been done yet';
  await context.store.remove(snapshots.ref, snapshot);
  await undoCreate(context, domain, snapshot, args, RECOVERING);
  return `it was undone; the domain is ${domain.state}`;
}

/**
 * Finishes a revert in its last phase, which changes only our own files. Removes new overlays that the domain does not
 * use.
 */
async function finishRevert(
  context: SnapshotContext,
  { domain: ref, snapshot, phase, flags, args, abandoned = [] }: PendingOperation,
  snapshots: DomainSnapshots,
): Promise<string> {
  const domain = await context.host.lookup(ref);
  const { state } = domain;
  if (args) await removeUnused(context, domain, args, abandoned);
  if (phase === 'overlays') return 'nothing had been done yet';
  if (phase === 'metadata' && snapshots.tree.has(snapshot)) {
    await snapshots.setCurrent(snapshot);
    return `it was finished; the domain is ${state}`;
  }
  const command = virshCommand('revert', { domain: snapshots.ref, snapshot, flags });
  const settled = phase === 'disks' && !isActive(domain) ? await settleDisks(context, snapshots, snapshot) : '';
  return `the domain is ${state}${settled}; to finish it: ${command}`;
}

/** Disks of two moments would be destroyed by a guest that is started on them. Returns the words for the log. */
async function settleDisks({ images }: SnapshotContext, snapshots: DomainSnapshots, name: string): Promise<string> {
  if (!snapshots.tree.has(name)) return '';
  const internal = internalDisks(await snapshots.read(name));
  switch (internal.length === 0 ? undefined : await images.settleApply(name, internal)) {
    case 'undone':
      return ', its disks hold again what they held before';
    case 'completed':
      return ', all of its disks are reverted';
    default:
      return '';
  }
}

/** Neither what the domain or one of its snapshots uses, nor what another domain does. */
async function removeUnused(
  context: SnapshotContext,
  domain: Domain,
  { disks = [] }: LibxlDomainSnapshotArgs,
  abandoned: readonly DiskImage[],
): Promise<void> {
  const { host, images } = context;
  const definitions = await Promise.all([host.definition(domain, 'live'), host.definition(domain, 'persistent')]);
  const inUse = new Set(definitions.flatMap(({ images: used }) => [...used.values()].map(({ path }) => path)));
  const made = movesOnto(disks).flatMap(({ disk, to }) => (inUse.has(to.path) ? [] : [{ ...to, disk }]));
  const shared = await sharedImages(context, domain, [...made, ...abandoned]);
  await images.remove([...made, ...abandoned].filter(({ path }) => !shared.has(path)));
}

async function finishDelete(
  context: SnapshotContext,
  { snapshot, flags }: PendingOperation,
  snapshots: DomainSnapshots,
): Promise<string> {
  if (!snapshots.tree.has(snapshot)) return 'it had been finished';
  try {
    await deleteUnlocked(context, snapshots, { name: snapshot, flags }, RECOVERING);
    return 'it was finished';
  } catch (error) {
    const command = virshCommand('delete', { domain: snapshots.ref, snapshot, flags });
    const reason = asLibvirtError(withWayOut(error, snapshots.ref)).message;
    return `it could not be finished: ${reason}${reason.includes(command) ? '' : `; then run: ${command}`}`;
  }
}
