/**
 * virDomainRevertToSnapshot. Everything that could make it fail is checked while the old domain still runs; then, in
 * this order, the old domain ends, the disks go back, the new domain starts from the snapshot's memory or from nothing.
 */

import { asLibvirtError, LibvirtError } from '../errors.ts';
import { type Domain, isActive } from '../model/domain.ts';
import { REVERT } from '../model/flags.ts';
import type { LibxlDiskSnapshot } from '../model/libxl.ts';
import { isExternal, type SnapshotDef } from '../model/snapshot.ts';
import { renamed } from '../xml/domain.ts';
import { domainDisks } from '../xml/domain-disks.ts';
import type { SnapshotContext } from './context.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import type { OperationJob } from './jobs.ts';
import { capturedDisks } from './libxl-args.ts';

/**
 * Where a revert ends up.
 *
 * snapshot        flags      the domain is then
 * running         –          running, from memory
 * running         PAUSED     paused, from memory
 * paused          –          paused, from memory
 * paused          RUNNING    running, from memory
 * shutoff         –          shut off
 * shutoff         RUNNING    running, booted
 * shutoff         PAUSED     paused, booted
 */
type Target =
  | { readonly kind: 'restore'; readonly paused: boolean; readonly memoryPath: string }
  | { readonly kind: 'boot'; readonly paused: boolean }
  | { readonly kind: 'off' };

export async function revertToSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  name: string,
  flags: number,
): Promise<void> {
  snapshots.find(name);
  await context.jobs.run(snapshots.ref, { operation: 'revert', snapshot: name, flags }, async (job) => {
    const domain = await context.host.lookup(snapshots.ref);
    const snapshot = await snapshots.read(snapshots.find(name).name);
    checkRevert(domain, snapshot, flags);
    const target = targetOf(context, domain, snapshot, flags);
    const disks = capturedDisks(snapshot);
    await job.phase('validate');
    await validate(context, domain, snapshot, target, disks);
    await carryOut(context, domain, snapshot, target, disks, job);
    await job.phase('metadata');
    await orExplain(
      snapshots.setCurrent(name),
      `domain '${domain.ref.name}' is reverted to snapshot '${name}', which could not be recorded as the current one`,
    );
  });
}

/** The qemu driver's checks, in its order. */
function checkRevert(domain: Domain, snapshot: SnapshotDef, flags: number): void {
  const wakesUp = snapshot.state === 'running' || snapshot.state === 'paused';
  if (!domain.persistent && !wakesUp && !(flags & (REVERT.RUNNING | REVERT.PAUSED))) {
    const text = 'transient domain needs to request run or pause to revert to inactive snapshot';
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (isExternal(snapshot)) {
    throw new LibvirtError('CONFIG_UNSUPPORTED', 'revert to external snapshot not supported yet');
  }
  if (!snapshot.domain) {
    const text = `snapshot '${snapshot.name}' lacks domain '${domain.ref.name}' rollback info`;
    throw new LibvirtError('SNAPSHOT_REVERT_RISKY', text);
  }
  if (domain.managedSave && !wakesUp && !(flags & REVERT.FORCE)) {
    const advice = 'removal of existing managed saved state strongly recommended to avoid corruption';
    throw new LibvirtError('SNAPSHOT_REVERT_RISKY', `snapshot without memory state, ${advice}`);
  }
}

function targetOf({ memory }: SnapshotContext, domain: Domain, snapshot: SnapshotDef, flags: number): Target {
  const asked = flags & REVERT.RUNNING ? 'running' : flags & REVERT.PAUSED ? 'paused' : undefined;
  switch (snapshot.state) {
    case 'running':
    case 'paused':
      return {
        kind: 'restore',
        paused: (asked ?? snapshot.state) === 'paused',
        memoryPath: memory.path(domain.ref, snapshot.name),
      };
    case 'shutdown':
    case 'shutoff':
    case 'crashed':
      return asked ? { kind: 'boot', paused: asked === 'paused' } : { kind: 'off' };
    default:
      throw new LibvirtError(
        'INTERNAL_ERROR',
        `Invalid target domain state '${snapshot.state}'. Refusing snapshot reversion`,
      );
  }
}

/** Reads everything that will be needed. Changes nothing. */
async function validate(
  { host, images }: SnapshotContext,
  domain: Domain,
  snapshot: SnapshotDef,
  target: Target,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  await images.check(snapshot.name, disks, await openImages(host, domain));
  if (target.kind === 'restore') await host.checkRestore(domain, target.memoryPath);
}

/** Images that the domain has open itself: they are free once it has ended. */
async function openImages(host: SnapshotContext['host'], domain: Domain): Promise<ReadonlySet<string>> {
  if (!isActive(domain)) return new Set();
  return new Set(domainDisks(await host.definition(domain, 'live')).flatMap(({ path }) => path ?? []));
}

/** From here on the old state is gone: every error says what has been done and how to go on. */
async function carryOut(
  { host, images }: SnapshotContext,
  domain: Domain,
  snapshot: SnapshotDef,
  target: Target,
  disks: readonly LibxlDiskSnapshot[],
  job: OperationJob,
): Promise<void> {
  const { name } = domain.ref;
  await job.phase(isActive(domain) ? 'destroy' : 'disks');
  commit(job, name);
  if (isActive(domain)) {
    await host.destroy(domain);
    await job.phase('disks');
  }
  await orExplain(
    images.apply(snapshot.name, disks),
    `domain '${name}' is shut off and its disks may be partly reverted to snapshot '${snapshot.name}'; ` +
      `mend the cause and run snapshot-revert again`,
  );
  if (target.kind === 'restore') {
    await job.phase('restore');
    await orExplain(
      host.restore(domain, target.memoryPath, { paused: target.paused }),
      `the disks of domain '${name}' are reverted to snapshot '${snapshot.name}', its memory is not: the image is kept ` +
        `in ${target.memoryPath}; run snapshot-revert again, or boot the domain with start`,
    );
  }
  if (domain.persistent) {
    const definition = snapshot.inactiveDomain ?? snapshot.domain;
    if (definition) {
      await job.phase('define');
      await orExplain(
        host.define(renamed(definition, name)),
        `domain '${name}' is reverted to snapshot '${snapshot.name}', but for its persistent definition`,
      );
    }
  }
  if (target.kind === 'boot') {
    await job.phase('boot');
    await orExplain(
      host.start(domain, { paused: target.paused }),
      `domain '${name}' is reverted to snapshot '${snapshot.name}' and shut off`,
    );
  }
}

function commit(job: OperationJob, domain: string): void {
  try {
    job.commit();
  } catch (error) {
    throw explained(error, `domain '${domain}' is as it was`);
  }
}

/** Adds to an error what state things are in. */
async function orExplain(work: Promise<void>, situation: string): Promise<void> {
  try {
    await work;
  } catch (error) {
    throw explained(error, situation);
  }
}

function explained(error: unknown, situation: string): LibvirtError {
  const { code, detail } = asLibvirtError(error);
  return new LibvirtError(code, `${detail} (${situation})`, { cause: error });
}
