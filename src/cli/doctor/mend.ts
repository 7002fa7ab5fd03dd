/** Removes the file, folder or snapshot that a finding is about, if that is safe. */

import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { storedSnapshots } from '../../disks/backends.ts';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import type { DomainRef } from '../../model/domain.ts';
import { CREATE, DELETE } from '../../model/flags.ts';
import type { LibxlDiskSnapshotResult, LibxlDomainSnapshot } from '../../model/libxl.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { removeEmptyFolder, removeFile } from '../../store/atomic-file.ts';
import type { Folders } from '../../store/default-folders.ts';
import type { FileJournal } from '../../store/records/journal.ts';
import { parseDefinition } from '../../xml/domain/definition.ts';
import { writeSnapshot } from '../../xml/snapshot/write.ts';
import { documentOf, readImage } from '../libxl-json/convert.ts';
import { orNone } from '../session.ts';
import { type DoctorFinding, hasRecord, type Orphan } from './file-rules.ts';

/** The result: what was done, or why it could not be done. Neither is set if the doctor does not fix such findings. */
export interface Mended {
  readonly done?: string;
  readonly refused?: string;
}

/** Fixes a finding. Reads the journal again first: an operation may have begun by now. `orphans`: delete those, too. */
export async function mend(
  client: RpcClient,
  journal: FileJournal,
  { memoryDir }: Folders,
  { removal, orphan }: DoctorFinding,
  { orphans }: { readonly orphans: boolean },
): Promise<Mended> {
  if (removal?.isOrphan && !orphans) return {};
  const target = removal ?? (orphans ? orphan : undefined);
  if (!target) return {};
  if (hasRecord({ records: await journal.records() }, target.uuid)) {
    return { refused: 'an operation has begun on that domain: removed nothing of it' };
  }
  try {
    if (removal) {
      await (removal.what === 'file' ? removeFile(removal.path) : removeEmptyFolder(removal.path));
      if (removal.isOrphan) await removeEmptyFolder(dirname(removal.path));
      return { done: `Removed ${removal.what} ${removal.path}` };
    }
    return orphan
      ? { done: await deleteOrphan(client, await client.lookupByUUID(orphan.uuid), orphan, memoryDir) }
      : {};
  } catch (error) {
    return { refused: asLibvirtError(error).message };
  }
}

/**
 * Redefines the snapshot and lets the daemon delete it, which it can do while the domain runs: its memory and, in the
 * images that it was taken of, the internal snapshots of its name, or the volumes. If that fails, removes the metadata
 * again.
 */
async function deleteOrphan(client: RpcClient, domain: DomainRef, orphan: Orphan, memoryDir: string): Promise<string> {
  const { snapshot: name, memoryPath, disks: volumes } = orphan;
  const known = await client.snapshots.lookupByName(domain, name, 0).catch(orNone('NO_DOMAIN_SNAPSHOT'));
  if (known)
    throw new LibvirtError('OPERATION_INVALID', `snapshot '${name}' of domain '${domain.name}' has metadata now`);
  const struct = volumes
    ? { name, disks: volumes.map((disk) => ({ disk, name })) }
    : await ofMemory(name, memoryPath, memoryDir);
  const document = writeSnapshot(await documentOf(client, domain, struct, memoryDir), { secure: true });
  const snapshot = await client.snapshots.createXML(domain, document, CREATE.REDEFINE);
  try {
    await client.snapshots.delete(snapshot, 0);
  } catch (error) {
    await client.snapshots.delete(snapshot, DELETE.METADATA_ONLY);
    throw error;
  }
  const what = volumes ? 'from its volumes' : `with its memory ${memoryPath}`;
  return `Deleted snapshot ${name} of domain ${domain.name} ${what}`;
}

async function ofMemory(name: string, memoryPath: string, memoryDir: string): Promise<LibxlDomainSnapshot> {
  const { domainXml } = await readImage(memoryPath, memoryDir);
  const { mtimeMs } = await stat(memoryPath);
  const disks: LibxlDiskSnapshotResult[] = [];
  for (const disk of parseDefinition(domainXml).disks) {
    const device = libxlDeviceDisk(disk);
    const stored = await storedSnapshots(device);
    if (stored.some(({ snapshot }) => snapshot === name)) disks.push({ disk: device, name });
  }
  return { name, memory: true, memory_path: memoryPath, creation_time: Math.floor(mtimeMs / 1000), disks };
}
