/** Gathers the facts and applies the doctor's rules to them. Reads only. */

import { lstatSync, readFileSync } from 'node:fs';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { Folders } from '../../store/default-folders.ts';
import { BlockJobFiles } from '../../store/records/block-job-files.ts';
import type { FileJournal } from '../../store/records/journal.ts';
import { SaveFiles } from '../../store/records/save-files.ts';
import { readSnapshotEntry } from '../../xml/snapshot/read.ts';
import { orNone } from '../session.ts';
import { type DomainFacts, domainFacts } from '../storage/domain-facts.ts';
import { blockJobFindings, foundBlockJobs, unsettledFindings } from './block-jobs.ts';
import { servesCommit } from './daemon-rules.ts';
import {
  type DoctorFinding,
  type JournalRecord,
  journalFindings,
  type Known,
  memoryFindings,
  metadataFindings,
  type Orphan,
} from './file-rules.ts';
import { storedItems } from './folder-contents.ts';
import { insideFindings, overlayFindings } from './image-rules.ts';
import { brokenTies } from './memory-ties.ts';
import { allImages, diskOfImage, nextDisks } from './owned-disks.ts';
import { foundLeftovers, leftoverFindings } from './revert-leftovers.ts';
import { type SaveRecord, saveFindings } from './saves.ts';
import { unnamedOverlayFindings } from './unnamed-overlays.ts';
import { foundVolumes, volumeFindings } from './volume-rules.ts';

/** Returns the doctor's findings. Rejects if the daemon cannot be asked. `status`: what the daemon says of itself. */
export async function examine(
  client: RpcClient,
  status: DaemonStatus | undefined,
  folders: Folders,
  journal: FileJournal,
): Promise<readonly DoctorFinding[]> {
  // Lists files before snapshots: a snapshot that is taken between the two is then listed, and its files are not reported.
  const memory = await storedItems(folders.memoryDir, 2);
  const metadata = await storedItems(folders.snapshotDir, 2);
  const disks = await nextDisks(client);
  const volumes = await foundVolumes(disks);
  const domains = await allDomains(client, folders);
  const jobs = await foundBlockJobs(client, domains);
  const recorded = await new BlockJobFiles(folders.stateDir).load();
  const saves = await new SaveFiles(folders.stateDir, () => {}).records();
  const images = await allImages(client, domains);
  const leftovers = await foundLeftovers([...disks, ...images.map(diskOfImage)]);
  const records = await journal.records();
  const broken = await brokenTies(memory, domains, folders);
  const known: Known = {
    domains,
    records,
    broken,
    working: await working(client, [...records, ...saves]),
    now: Date.now(),
  };
  const ofMemory = memoryFindings(memory, known);
  return [
    ...journalFindings(known),
    ...saveFindings(saves, known.working),
    ...ofMemory,
    ...metadataFindings(metadata, known, isDocument),
    ...insideFindings(
      domains,
      images,
      ofMemory.flatMap(({ orphan }) => orphan ?? []),
    ),
    ...volumeFindings(volumes, known).filter(({ orphan }) => !isOf(orphan, ofMemory)),
    ...leftoverFindings(leftovers, records),
    ...blockJobFindings(jobs),
    ...unsettledFindings(recorded, domains),
    ...(await unnamedOverlayFindings(domains, jobs, servesCommit(status))),
    ...(await overlayFindings(images, domains)),
  ];
}

/** True for volumes that are reported, and deleted, with the memory of their snapshot. */
function isOf(orphan: Orphan | undefined, ofMemory: readonly DoctorFinding[]): boolean {
  return ofMemory.some((other) => other.orphan?.uuid === orphan?.uuid && other.orphan?.snapshot === orphan?.snapshot);
}

async function allDomains(client: RpcClient, { memoryDir }: Folders): Promise<readonly DomainFacts[]> {
  const domains: DomainFacts[] = [];
  for (const ref of await client.listAllDomains()) {
    const facts = await domainFacts(client, ref, memoryDir).catch(orNone('NO_DOMAIN'));
    if (facts) domains.push(facts);
  }
  return domains;
}

/** Returns the UUIDs of the domains with a record on which the daemon works now. */
async function working(
  client: RpcClient,
  records: readonly (JournalRecord | SaveRecord)[],
): Promise<ReadonlySet<string>> {
  const uuids = new Set<string>();
  for (const record of records) {
    if ('error' in record) continue;
    // libvirt reports an error for a domain that is off and has no job.
    const stats = await client.getJobStats(record.domain, 0).catch(() => undefined);
    if (stats && stats.type !== 0) uuids.add(record.domain.uuid);
  }
  return uuids;
}

function isDocument(path: string): boolean {
  try {
    // Opening a pipe would wait for its writer.
    if (!lstatSync(path).isFile()) return false;
    readSnapshotEntry(readFileSync(path, 'utf8'));
    return true;
  } catch {
    return false;
  }
}
