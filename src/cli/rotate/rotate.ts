/** `xlsnap rotate`: takes a snapshot of each guest and deletes the oldest ones that it has made, for a timer. */

import { createFlags } from '../../client/flags.ts';
import { snapshotDocument } from '../../client/snapshot-document.ts';
import { asLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { printable } from '../../model/messages/printable.ts';
import { command, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { runJob } from '../job/job.ts';
import type { Session } from '../session.ts';
import { readDocument } from '../snapshot/snapshot-document.ts';
import { rotationDescription, rotationName, surplus } from './rotation.ts';

interface Rotation {
  readonly label: string;
  /** At least 1: the snapshot that has just been taken stays. */
  readonly keep: number;
  /** virDomainSnapshotCreateFlags. */
  readonly flags: number;
}

/** What was done to a guest. */
interface Rotated {
  readonly domain: string;
  readonly created?: string;
  readonly deleted: readonly string[];
  /** Why no more was done. */
  readonly error?: string;
}

/** `xlsnap rotate`. */
export const ROTATE = command({
  description:
    'Takes a snapshot of each guest, named LABEL and the time, and then deletes the oldest snapshots of that label, so that the ' +
    'newest N stay, and those that are protected. It deletes only what it has made itself, and nothing if the new snapshot could ' +
    'not be taken. A guest that fails does not keep the others from their turn; the exit code is then 1, and standard error says ' +
    'why.',
  options: [
    { name: 'domain', type: 'argv', help: 'domain name, id or uuid', completes: 'domain' },
    { name: 'label', type: 'string', named: true, help: "the rotation's name, and how the snapshots' names begin" },
    { name: 'keep', type: 'string', named: true, help: 'how many snapshots stay, with the new one' },
    { name: 'disk-only', type: 'bool', help: 'capture disk state but not vm state' },
    { name: 'quiesce', type: 'bool', help: "quiesce guest's file systems" },
    JSON_OPTION,
  ],
  async run({ domain: guests, label, keep, quiesce, json, 'disk-only': diskOnly }, session) {
    const rotation: Rotation = {
      label: required(label, 'label'),
      keep: countOf(required(keep, 'keep')),
      flags: createFlags({ diskOnly, quiesce }),
    };
    required(guests[0], 'domain');
    const all: Rotated[] = [];
    for (const guest of guests) {
      if (session.interrupted) break;
      const rotated = await rotate(session, guest, rotation);
      all.push(rotated);
      if (!json) report(session, rotated);
    }
    if (json) session.json(all);
    const failed = all.filter(({ error }) => error !== undefined).length;
    if (failed > 0) throw failure(`${failed} of ${guests.length} guests failed`);
  },
});

async function rotate(session: Session, given: string, { label, keep, flags }: Rotation): Promise<Rotated> {
  let domain: DomainRef | undefined;
  let created: string | undefined;
  const deleted: string[] = [];
  try {
    const found = await session.domain(given);
    domain = found;
    const client = await session.client();
    const { snapshots } = client;
    const name = rotationName(label, new Date());
    const xml = snapshotDocument({ name, description: rotationDescription(label) });
    created = (await runJob(session, found, () => snapshots.createXML(found, xml, flags))).name;
    const refs = await snapshots.listAll(found, 0);
    const documents = await Promise.all(refs.map(async (ref) => readDocument(await snapshots.getXMLDesc(ref, 0))));
    const kept = new Set(await client.listProtected(found));
    for (const old of surplus(documents, { label, keep, kept })) {
      await runJob(session, found, () => snapshots.delete({ name: old, domain: found }, 0));
      deleted.push(old);
    }
    return { domain: found.name, created, deleted };
  } catch (error) {
    const { message } = asLibvirtError(error);
    return { domain: domain?.name ?? given, ...(created !== undefined && { created }), deleted, error: message };
  }
}

function report(session: Session, { domain, created, deleted, error }: Rotated): void {
  const guest = printable(domain);
  if (created !== undefined) session.extra(`Domain ${guest}: snapshot ${created} created\n`);
  for (const name of deleted) session.extra(`Domain ${guest}: snapshot ${name} deleted\n`);
  if (error !== undefined) session.error(`domain '${guest}': ${error}`);
}

/** In virsh's words. */
function required(value: string | undefined, option: string): string {
  if (value === undefined) throw failure(`command 'rotate' requires <${option}> option`);
  return value;
}

function countOf(keep: string): number {
  const count = Number(keep);
  if (/^\d+$/.test(keep) && Number.isSafeInteger(count) && count > 0) return count;
  throw failure(`Numeric value '${keep}' for <keep> option is malformed or out of range`);
}
