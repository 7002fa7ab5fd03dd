/** Turns xl.snapshot.cfg(5), or what else says the same, into what libvirt asks for a snapshot with. */

import { type DiskSpec, snapshotDocument } from '../../client/snapshot-document.ts';
import { type DomainRef, isActive } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import { parseDefinition } from '../../xml/domain/definition.ts';
import { failure } from '../failure.ts';
import type { Session } from '../session.ts';
import type { SnapshotCfg } from './read.ts';

/** Document and flags of virDomainSnapshotCreateXML. */
interface SnapshotRequest {
  readonly xml: string;
  readonly flags: number;
}

/**
 * Returns the request for such a snapshot; without memory, that of a running domain is disk-only. Refuses options that
 * contradict the file.
 */
export async function requestOf(
  session: Session,
  domain: DomainRef,
  cfg: SnapshotCfg,
  options: { readonly name: string | undefined; readonly flags: number; readonly from: string },
): Promise<SnapshotRequest> {
  const { flags } = options;
  if (flags & (CREATE.REDEFINE | CREATE.CURRENT)) {
    throw failure(`Options --redefine and --current need an XML document: ${options.from} holds no whole snapshot`);
  }
  if (options.name !== undefined && cfg.name !== undefined && options.name !== cfg.name) {
    throw failure(`the snapshot has two names: '${options.name}' by --name, and '${cfg.name}' in its file`);
  }
  // Without the flag libvirt wants all disks of a domain that is off to be captured inside their images.
  const diskOnly = cfg.memory === undefined && (isActive({ ref: domain }) || cfg.disks !== undefined);
  const disks = cfg.disks === undefined ? [] : await allDisks(session, domain, cfg.disks, options.from);
  return {
    xml: snapshotDocument({ ...cfg, name: options.name ?? cfg.name, disks }),
    flags: diskOnly ? flags | CREATE.DISK_ONLY : flags,
  };
}

/**
 * Returns every disk of the domain: those that the file leaves out are not captured; libvirt would capture what a document
 * leaves out. Refuses a disk that the domain does not have.
 */
async function allDisks(
  session: Session,
  domain: DomainRef,
  named: readonly DiskSpec[],
  from: string,
): Promise<readonly DiskSpec[]> {
  const client = await session.client();
  const targets = parseDefinition(await client.getXMLDesc(domain, 0)).disks.map(({ target }) => target);
  const unknown = named.find(({ name }) => !targets.includes(name));
  if (unknown) {
    throw failure(
      `${from}: domain '${domain.name}' has no disk '${unknown.name}': its disks are ${targets.join(', ') || 'none'}`,
    );
  }
  const leftOut = targets.filter((target) => !named.some(({ name }) => name === target));
  return [...named, ...leftOut.map((name) => ({ name, snapshot: 'no' }))];
}
