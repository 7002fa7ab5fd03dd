/** Checks that a domain's stored snapshots and disk images are complete and consistent. */

import { readChains } from '../../disks/chain/chains.ts';
import { checkImage, type ImageCheck } from '../../disks/qemu/image-info.ts';
import { asLibvirtError } from '../../errors.ts';
import { type DomainRef, isActive } from '../../model/domain.ts';
import { domainCommand, shellCommand } from '../../model/messages/shell-command.ts';
import { SnapshotTree } from '../../model/tree.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { Folders } from '../../store/default-folders.ts';
import { SnapshotFiles } from '../../store/snapshot-files.ts';
import { imagesOfDisks } from '../storage/disk-images.ts';
import { type DomainFacts, domainFacts, type SnapshotOnDisk } from '../storage/domain-facts.ts';
import type { Finding } from '../storage/finding.ts';
import { checkSnapshot, type Hashes, hashSnapshot, type MemoryFormat } from './verify-snapshot.ts';

/** The findings about one snapshot, or about the domain. */
export interface Verified {
  /** A snapshot's name; undefined for findings about the domain's folder and images. */
  readonly snapshot?: string;
  readonly findings: readonly Finding[];
  readonly hashes?: Hashes;
}

interface VerifyOptions {
  readonly folders: Folders;
  readonly format: MemoryFormat;
  readonly hash: boolean;
  /** Checks only this snapshot. */
  readonly only: string | undefined;
}

/** Yields the findings of each snapshot, then those of the domain. Reads only. */
export async function* verifyDomain(
  client: RpcClient,
  domain: DomainRef,
  { folders, format, hash, only }: VerifyOptions,
): AsyncGenerator<Verified> {
  const facts = await domainFacts(client, domain, folders.memoryDir);
  const snapshots = facts.snapshots.filter(({ name }) => only === undefined || name === only);
  const open = await openImages(facts);
  for (const snapshot of snapshots) {
    const findings = await checkSnapshot(domain, snapshot, { memoryDir: folders.memoryDir, format, open });
    const hashes = hash && findings.length === 0 ? await hashSnapshot(snapshot) : undefined;
    yield { snapshot: snapshot.name, findings, ...(hashes && { hashes }) };
  }
  if (only !== undefined) return;
  const images = new Map(
    (await imagesOfDisks(facts)).flatMap((disk) => disk.images).map((image) => [image.path, image]),
  );
  const findings = await storeFindings(domain, facts.snapshots, folders);
  for (const image of images.values()) {
    // A missing image is reported with the snapshots that need it.
    if (!image.info) continue;
    const check = await checkImage(image).catch(asLibvirtError);
    findings.push(...imageFindings(image.path, check, domain));
  }
  yield { findings };
}

/** Returns the images that the domain's device model has open: if it runs, its active images and their backing chains. */
async function openImages({ domain, images }: DomainFacts): Promise<ReadonlySet<string>> {
  if (!isActive({ ref: domain })) return new Set();
  const chains = await readChains([...images.values()]);
  return new Set(chains.flatMap(({ layers }) => layers.map(({ path }) => path)));
}

/** Compares the files with the daemon's list. */
async function storeFindings(
  domain: DomainRef,
  listed: readonly SnapshotOnDisk[],
  { snapshotDir }: Folders,
): Promise<Finding[]> {
  const xlsnap = (command: string, ...args: readonly string[]): string =>
    domainCommand({ program: 'xlsnap', command, domain, args });
  const complaints: string[] = [];
  const { entries, claimants } = await new SnapshotFiles(snapshotDir, (text) => complaints.push(text)).look(domain);
  const unread = complaints.map((problem) => ({
    problem,
    wayOut: 'repair the file or move it out of the folder, then restart xlsnapd: until then it is ignored',
  }));
  const several =
    claimants.length < 2
      ? []
      : [
          {
            problem: `the files of several snapshots claim to be current: ${claimants.map((name) => `'${name}'`).join(', ')}`,
            wayOut: `say which one is: ${xlsnap('snapshot-current')} SNAPSHOT`,
          },
        ];
  const { consistent } = SnapshotTree.of(entries);
  const unrelated = consistent
    ? []
    : [
        {
          problem: 'parents are missing or form a cycle, so the domain has no current snapshot',
          wayOut: `give each snapshot a parent that is there: ${xlsnap('snapshot-edit')} SNAPSHOT`,
        },
      ];
  const stored = new Set(entries.map(({ name }) => name));
  const names = new Set(listed.map(({ name }) => name));
  const lost = listed
    .filter(({ name }) => !stored.has(name))
    .map(({ name }) => ({
      problem: `snapshot '${name}' has no file in '${snapshotDir}/${domain.name}'`,
      wayOut: `write it again before xlsnapd is restarted: ${xlsnap('snapshot-edit', name)}`,
    }));
  const unlisted = entries
    .filter(({ name }) => !names.has(name))
    .map(({ name }) => ({
      problem: `snapshot '${name}' has a file but is not listed`,
      wayOut: 'the file was added while xlsnapd was running: restart xlsnapd',
    }));
  return [...unread, ...several, ...unrelated, ...lost, ...unlisted];
}

/** A running domain changes its images during the check, so only corruptions are reported for it. */
function imageFindings(path: string, check: ImageCheck | Error, { id }: DomainRef): readonly Finding[] {
  const runs = id >= 0;
  if (check instanceof Error) {
    return [
      {
        problem: check.message,
        wayOut: `check if the image can be read at all: ${shellCommand('qemu-img', 'info', path)}`,
      },
    ];
  }
  if (check === 'unsupported') return [];
  const off = runs ? 'shut the domain off and verify again: its images change while it runs. Then ' : '';
  if (check.corruptions > 0) {
    const wayOut = `${off}copy '${path}' away, then run: ${shellCommand('qemu-img', 'check', '-r', 'all', path)}`;
    return [{ problem: `image '${path}' has ${check.corruptions} corruptions`, wayOut }];
  }
  if (check.leaks === 0 || runs) return [];
  return [
    {
      problem: `image '${path}' has ${check.leaks} leaked clusters, which only take up space`,
      wayOut: shellCommand('qemu-img', 'check', '-r', 'leaks', path),
    },
  ];
}
