/**
 * Overlays that a domain writes to and no snapshot names: what `snapshot-create --disk-only --no-metadata` leaves. A clone of
 * an image of its own looks alike, so this is a note; clones that share their image are none.
 */

import { readChain } from '../../disks/chain/chains.ts';
import { fileKey } from '../../disks/file-key.ts';
import { libxlDiskFormat } from '../../model/device-disk.ts';
import type { ChainLayer } from '../../model/disk-image.ts';
import { type DomainRef, isActive } from '../../model/domain.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import { importCommand } from '../libxl-json/import-command.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import { formatBytes } from '../terminal/quantities.ts';
import type { FoundBlockJob } from './block-jobs.ts';
import type { DoctorFinding } from './file-rules.ts';
import { allocatedBytes } from './folder-contents.ts';

/** The images of a disk, from the active one down. */
interface Active {
  readonly domain: DomainRef;
  readonly disk: string;
  readonly layers: readonly ChainLayer[];
}

/** `jobs`: a disk with one is reported with it. `servesCommit`: a block commit of a running domain can be asked for. */
export async function unnamedOverlayFindings(
  domains: readonly DomainFacts[],
  jobs: readonly FoundBlockJob[],
  servesCommit: boolean,
): Promise<readonly DoctorFinding[]> {
  const all: Active[] = [];
  const named = new Set<string>();
  for (const { domain, images, snapshots } of domains) {
    for (const [disk, image] of images) all.push({ domain, disk, layers: (await readChain(image)).layers });
    for (const { path } of snapshots.flatMap(({ overlays }) => overlays)) named.add(await fileKey(path));
  }
  const findings: DoctorFinding[] = [];
  for (const active of all) {
    const [top, base] = active.layers;
    if (!top || !base || named.has(top.key) || jobs.some((job) => isOn(job, active))) continue;
    const users = all.filter(({ layers }) => layers.some(({ key }) => key === base.key));
    if (users.length > 1) continue;
    const commits = servesCommit && isActive({ ref: active.domain });
    const merge = commits ? commitCommand(active) : deleteCommand(active, top, base);
    findings.push(await finding(active, top, base, merge));
  }
  return findings;
}

const isOn = (job: FoundBlockJob, { domain, disk }: Active): boolean =>
  job.domain.uuid === domain.uuid && job.disk === disk;

async function finding(
  { domain, disk }: Active,
  top: ChainLayer,
  base: ChainLayer,
  merge: string,
): Promise<DoctorFinding> {
  const bytes = await allocatedBytes(top.path);
  const size = bytes === undefined ? '' : ` (${formatBytes(bytes)})`;
  return {
    level: 'note',
    problem: `disk '${disk}' of domain '${domain.name}' is on overlay '${top.path}'${size} of '${base.path}', and no snapshot names it`,
    wayOut: `leave it if it is meant to be a clone; to merge it into '${base.path}': ${merge}`,
    ...(bytes !== undefined && { bytes }),
  };
}

/** Of a running domain, as everybody merges the overlay of a backup. By default libvirt merges into the last image of all. */
function commitCommand({ domain, disk, layers }: Active): string {
  const options = ['--active', '--pivot', ...(layers.length > 2 ? ['--shallow'] : []), '--delete'];
  return domainCommand({ program: 'virsh', command: 'blockcommit', domain, args: [disk], options });
}

/** Defines the snapshot that made the overlay, and deletes it: the daemon merges the overlay. */
function deleteCommand({ domain, disk }: Active, { path, format }: ChainLayer, base: ChainLayer): string {
  const name = `merge-${disk}`;
  const snapshot = {
    name,
    disks: [
      {
        disk: { vdev: disk, pdev_path: base.path, format: libxlDiskFormat(base.format) ?? 'unknown', backend: 'qdisk' },
        ...{ name, external: true, external_path: path, external_format: libxlDiskFormat(format) ?? 'unknown' },
      },
    ],
  } as const;
  const removal = domainCommand({ program: 'virsh', command: 'snapshot-delete', domain, args: [name] });
  return `${importCommand(domain, snapshot)} && ${removal}`;
}
