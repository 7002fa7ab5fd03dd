/** Checks that the memory and images of a snapshot exist and are what its metadata says. Reads only. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { backendOf } from '../../disks/backends.ts';
import { diskContents } from '../../disks/qemu/disk-contents.ts';
import { asLibvirtError, hasReason, LibvirtError } from '../../errors.ts';
import { readMemoryStream } from '../../memory/embedded-stream.ts';
import { checkLibxlStream, isForeignImage, readMemoryImage } from '../../memory/image-file.ts';
import { checkTie } from '../../memory/tie.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LibxlDiskSnapshot } from '../../model/libxl.ts';
import { domainCommand } from '../../model/messages/shell-command.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { domainName, domainUuid, parseDomain } from '../../xml/domain/domain.ts';
import type { CapturedDisk, SnapshotOnDisk } from '../storage/domain-facts.ts';
import type { Finding } from '../storage/finding.ts';

/**
 * The accepted format of a memory image: on Xen only a libxl stream, elsewhere also what the driver behind the daemon
 * saves.
 */
export type MemoryFormat = 'libxl' | 'any';

/** By virConnectGetType. */
export function memoryFormatOf(driver: string): MemoryFormat {
  return driver === 'Xen' ? 'libxl' : 'any';
}

interface CheckOptions {
  readonly memoryDir: string;
  readonly format: MemoryFormat;
  /** Images that the domain's device model has open now. */
  readonly open: ReadonlySet<string>;
}

/** Returns the problems that a revert would meet, found by the revert's own checks. */
export async function checkSnapshot(
  domain: DomainRef,
  snapshot: SnapshotOnDisk,
  { memoryDir, format, open }: CheckOptions,
): Promise<readonly Finding[]> {
  const { name, memory, disks } = snapshot;
  const findings: Finding[] = [];
  const deletion = { program: 'xlsnap', command: 'snapshot-delete', domain, args: [name] } as const;
  const giveUp = domainCommand(deletion);
  const forget = domainCommand({ ...deletion, options: ['--metadata'] });
  for (const disk of disks) {
    const error = await errorOf(checkDisk(name, disk, open));
    if (!error) continue;
    const wayOut = hasReason(error, 'snapshot-gone')
      ? `the captured contents of the disk are lost; delete the snapshot: ${giveUp}`
      : `put the image back (is its file system mounted?), or delete only the metadata: ${forget}`;
    findings.push({ problem: error.detail, wayOut });
  }
  if (memory) {
    const { path } = memory;
    const parts = findings.length > 0 ? [] : disks.map(({ part }) => part);
    const own = new MemoryFiles(memoryDir).check(path);
    const error = await errorOf(own.then(() => checkMemory(domain, name, path, format, parts)));
    const wayOut = `put '${path}' back from a backup, or delete the snapshot: ${giveUp}`;
    if (error) findings.push({ problem: error.detail, wayOut });
  }
  return findings;
}

async function errorOf(check: Promise<void>): Promise<LibvirtError | undefined> {
  return await check.then(() => undefined, asLibvirtError);
}

async function checkDisk(name: string, { part }: CapturedDisk, open: ReadonlySet<string>): Promise<void> {
  await (await backendOf(part)).check(name, [part], open);
}

/** `disks`: those that the memory must match. */
async function checkMemory(
  domain: DomainRef,
  name: string,
  path: string,
  format: MemoryFormat,
  disks: readonly LibxlDiskSnapshot[],
): Promise<void> {
  // Why it cannot be read, readMemoryImage() reports.
  if (format === 'any' && (await isForeignImage(path).catch(() => false))) return;
  const image = await readMemoryImage(path);
  const owner = parseDomain(image.domainXml);
  if (domainUuid(owner) !== domain.uuid) {
    const text = `memory image '${path}' belongs to domain '${domainName(owner)}' uuid ${domainUuid(owner)}`;
    throw new LibvirtError('OPERATION_FAILED', text);
  }
  if (format === 'libxl') await checkLibxlStream(image);
  else await readMemoryStream(path, image.streamOffset);
  if (disks.length > 0) await checkTie(path, name, disks);
}

/** SHA-256 of a snapshot's contents. */
export interface Hashes {
  /** Of the memory image, the whole file. */
  readonly memory?: string;
  /**
   * Of each disk's contents as the guest would read them, first byte to last: of `qemu-img convert -O raw`, too. Null if
   * only the storage itself can read it, as on LVM and ZFS.
   */
  readonly disks: Readonly<Record<string, string | null>>;
}

/** Returns the hashes of a snapshot in which checkSnapshot found no problem. */
export async function hashSnapshot({ name, memory, disks }: SnapshotOnDisk): Promise<Hashes> {
  const hashes: Record<string, string | null> = {};
  for (const disk of disks) {
    const contents = await contentsOf(name, disk);
    hashes[disk.target] = contents ? await sha256(contents) : null;
  }
  return { ...(memory && { memory: await sha256(createReadStream(memory.path)) }), disks: hashes };
}

async function contentsOf(name: string, { part }: CapturedDisk): Promise<AsyncIterable<Buffer> | undefined> {
  const captured = await (await backendOf(part)).captured?.(name, part);
  return captured && diskContents(captured.image, captured.snapshotId);
}

async function sha256(contents: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const block of contents) hash.update(block);
  return hash.digest('hex');
}
