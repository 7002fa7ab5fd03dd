/** virDomainSnapshotCreateXML with REDEFINE: metadata alone; storage and events are never touched. */

import { LibvirtError } from '../errors.ts';
import { alignDisks } from '../model/align-disks.ts';
import { CREATE } from '../model/flags.ts';
import { isExternal, type SnapshotDef, type SnapshotEntry } from '../model/snapshot.ts';
import { checkAbiStability } from '../xml/abi/stability.ts';
import { domainUuid } from '../xml/domain/domain.ts';
import { readSnapshot } from '../xml/snapshot/read.ts';
import { regularFiles } from './chains/files.ts';
import type { SnapshotContext } from './context.ts';
import type { DomainSnapshots } from './domain-snapshots.ts';
import { checkName } from './name-rules.ts';

/**
 * Adds a snapshot's metadata, or replaces that of the same name in place: children stay, `current` only moves when
 * asked.
 */
export async function redefineSnapshot(
  context: SnapshotContext,
  snapshots: DomainSnapshots,
  xml: string,
  flags: number,
): Promise<string> {
  const { snapshot } = await readSnapshot(xml, { internal: false });
  checkName(snapshot.name);
  return await context.jobs.run(
    snapshots.ref,
    { operation: 'redefine', snapshot: snapshot.name, flags },
    async (job) => {
      checkParent(snapshots, snapshot);
      checkDiskOnly(snapshot, flags);
      checkUuid(snapshots, snapshot);
      const old = snapshots.tree.get(snapshot.name);
      if (old) checkReplacement(old, snapshot);
      const before = old && (await snapshots.read(old.name)).domain;
      if (before && snapshot.domain) checkAbiStability(before.element, snapshot.domain.element);
      const domain = snapshot.domain ?? before;
      const complete = domain ? { ...snapshot, domain } : snapshot;
      await job.phase('metadata');
      await snapshots.put(await aligned(complete), (flags & CREATE.CURRENT) !== 0);
      return snapshot.name;
    },
  );
}

function checkParent({ tree }: DomainSnapshots, { name, parent }: SnapshotDef): void {
  if (parent === undefined) return;
  if (parent === name) throw invalid(`cannot set moment ${name} as its own parent`);
  if (!tree.has(parent)) throw invalid(`parent ${parent} for moment ${name} not found`);
  for (let above = tree.get(parent); above; above = tree.parentOf(above.name)) {
    if (above.parent === name) throw invalid(`parent ${above.name} would create cycle to ${name}`);
  }
}

function checkDiskOnly({ name, state }: SnapshotDef, flags: number): void {
  if (flags & CREATE.DISK_ONLY && state !== 'disk-snapshot') {
    throw invalid(`disk-only flag for snapshot ${name} requires disk-snapshot state`);
  }
}

function checkUuid({ ref }: DomainSnapshots, { name, domain }: SnapshotDef): void {
  if (domain && domainUuid(domain.element) !== ref.uuid) {
    throw invalid(`definition for snapshot ${name} must use uuid ${ref.uuid}`);
  }
}

/** Refuses to change a snapshot between libvirt's two kinds of state; `blocked` counts as offline, as in libvirt. */
function checkReplacement(old: SnapshotEntry, { name, state }: SnapshotDef): void {
  const online = (of: SnapshotDef['state']) => of === 'running' || of === 'paused';
  if (online(old.state) !== online(state)) {
    throw invalid(`cannot change between online and offline snapshot state in snapshot ${name}`);
  }
  if ((old.state === 'disk-snapshot') !== (state === 'disk-snapshot')) {
    throw invalid(`cannot change between disk only and full system in snapshot ${name}`);
  }
}

/** Aligns the document's disks with the definition in the document. */
async function aligned(snapshot: SnapshotDef): Promise<SnapshotDef> {
  if (!snapshot.domain) {
    throw new LibvirtError('INTERNAL_ERROR', 'missing domain in snapshot', { domain: 'DOMAIN_SNAPSHOT' });
  }
  const external = snapshot.state === 'disk-snapshot' || isExternal(snapshot);
  const { disks: ofDomain } = snapshot.domain;
  const disks = alignDisks(snapshot.disks, ofDomain, {
    name: snapshot.name,
    location: external ? 'external' : 'internal',
    regularFiles: await regularFiles(ofDomain),
  });
  return { ...snapshot, disks };
}

function invalid(text: string): LibvirtError {
  return new LibvirtError('INVALID_ARG', text, { domain: 'DOMAIN' });
}
