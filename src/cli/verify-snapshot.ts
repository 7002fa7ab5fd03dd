/** Whether what a snapshot's metadata names is there, and is what it should be. Reads only. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { diskContents } from '../disks/disk-contents.ts';
import { imageChain } from '../disks/image-info.ts';
import { asLibvirtError } from '../errors.ts';
import { readMemoryStream } from '../hosts/test-memory.ts';
import { checkLibxlStream, readMemoryImage } from '../libxl/memory-image.ts';
import type { DomainRef } from '../model/domain.ts';
import { domainName, domainUuid, parseDomain } from '../xml/domain.ts';
import type { CapturedDisk, SnapshotOnDisk } from './domain-facts.ts';
import type { Finding } from './finding.ts';

/** What may be found in a memory image: on Xen a libxl stream alone, elsewhere what the driver behind the daemon saves. */
export type MemoryFormat = 'libxl' | 'any';

/** By virConnectGetType. */
export function memoryFormatOf(driver: string): MemoryFormat {
  return driver === 'Xen' ? 'libxl' : 'any';
}

/** How saved domains of libvirt's test and qemu drivers begin. They are those drivers' own: no more is known of them here. */
const FOREIGN_MAGICS = ['TestGuestMagic', 'LibvirtQemudSave'] as const;

/** Findings in the order in which a revert would meet them. */
export async function checkSnapshot(
  domain: DomainRef,
  snapshot: SnapshotOnDisk,
  format: MemoryFormat,
): Promise<readonly Finding[]> {
  const { name, memory, disks } = snapshot;
  const findings: Finding[] = [];
  if (memory) {
    const problem = await memoryProblem(domain, memory.path, format);
    const wayOut = `put '${memory.path}' back from a backup, or give the snapshot up: xlsnap snapshot-delete ${domain.name} ${name}`;
    if (problem !== undefined) findings.push({ problem, wayOut });
  }
  for (const disk of disks) findings.push(...(await diskFindings(domain, name, disk)));
  return findings;
}

async function memoryProblem(domain: DomainRef, path: string, format: MemoryFormat): Promise<string | undefined> {
  try {
    if (format === 'any' && (await isForeign(path))) return undefined;
    const image = await readMemoryImage(path);
    const owner = parseDomain(image.domainXml);
    if (domainUuid(owner) !== domain.uuid) {
      return `memory image '${path}' belongs to domain '${domainName(owner)}' uuid ${domainUuid(owner)}`;
    }
    if (format === 'libxl') await checkLibxlStream(image);
    else await readMemoryStream(path, image.streamOffset);
    return undefined;
  } catch (error) {
    return asLibvirtError(error).detail;
  }
}

async function isForeign(path: string): Promise<boolean> {
  try {
    await using file = await open(path, 'r');
    const { buffer } = await file.read(Buffer.alloc(16), 0, 16, 0);
    return FOREIGN_MAGICS.some((magic) => buffer.toString('latin1').startsWith(magic));
  } catch {
    // Whoever reads it as an image of ours says why it cannot be read.
    return false;
  }
}

async function diskFindings(
  domain: DomainRef,
  name: string,
  { target, image, overlay }: CapturedDisk,
): Promise<readonly Finding[]> {
  const { layers, broken } = await imageChain(image);
  if (broken) {
    const beneath = layers.length > 0 ? `, beneath '${image.path}'` : '';
    return [
      {
        problem: `disk ${target}: ${broken.detail}${beneath}`,
        wayOut:
          'put the image back in its place (is its file system mounted?), or forget the snapshot and leave its files: ' +
          `xlsnap snapshot-delete ${domain.name} ${name} --metadata`,
      },
    ];
  }
  if (overlay || layers[0]?.snapshots.some((inside) => inside.name === name)) return [];
  return [
    {
      problem: `disk ${target}: image '${image.path}' has no internal snapshot '${name}'`,
      wayOut: `the disk's contents of that moment are gone: xlsnap snapshot-delete ${domain.name} ${name}`,
    },
  ];
}

/** SHA-256 of what a snapshot holds. */
export interface Hashes {
  /** Of the memory image, the whole file. */
  readonly memory?: string;
  /** Of each disk's contents as the guest would read them, first byte to last: of `qemu-img convert -O raw`, too. */
  readonly disks: Readonly<Record<string, string>>;
}

/** Of a snapshot in which checkSnapshot found nothing. */
export async function hashSnapshot({ name, memory, disks }: SnapshotOnDisk): Promise<Hashes> {
  const hashes: Record<string, string> = {};
  for (const disk of disks) hashes[disk.target] = await sha256(await contentsOf(name, disk));
  return { ...(memory && { memory: await sha256(createReadStream(memory.path)) }), disks: hashes };
}

async function contentsOf(name: string, { image, overlay }: CapturedDisk): Promise<AsyncIterable<Buffer>> {
  if (overlay) return diskContents(image);
  const { layers } = await imageChain(image);
  return diskContents(image, layers[0]?.snapshots.find((inside) => inside.name === name)?.id);
}

async function sha256(contents: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of contents) hash.update(block);
  return hash.digest('hex');
}
