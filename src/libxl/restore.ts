/** libxl_domain_snapshot_restore: makes a new domain from a snapshot. The caller puts the disks back first. */

import { LibvirtError, neverAborted, throwIfCancelled } from '../errors.ts';
import { checkLibxlStream, readMemoryImage } from '../memory/image-file.ts';
import { checkTie } from '../memory/tie.ts';
import type { LibxlDomainSnapshot } from '../model/libxl.ts';
import { type LibxlSession, XEN } from './toolstack.ts';

/** How a domain comes back. */
export interface RestoreOptions {
  /** Leaves the new domain paused. */
  readonly paused?: boolean;
  /** Honoured until the new domain runs. */
  readonly signal?: AbortSignal;
}

/**
 * Makes the domain as it was and returns its domid. Refuses (DOM_EXIST) if a domain of that name or UUID exists. Destroys
 * no domain but the one that it has half made itself, after a failure.
 */
export async function domainSnapshotRestore(
  snapshot: LibxlDomainSnapshot,
  { paused = false, signal = neverAborted() }: RestoreOptions = {},
  toolstack = XEN,
): Promise<number> {
  const { name, config, memory_path } = snapshot;
  if (config === undefined || memory_path === undefined) {
    throw new LibvirtError(
      'INVALID_ARG',
      `snapshot '${name}' has no memory: there is nothing to restore a domain from`,
    );
  }
  const image = await readMemoryImage(memory_path);
  await checkLibxlStream(image);
  await checkTie(memory_path, name, snapshot.disks ?? []);
  await using xen = toolstack.startHelper();
  await refuseExisting(xen, config.c_info as { name?: string; uuid?: string });
  const domid = await xen.createRestore(config, memory_path, image.streamOffset, { signal });
  try {
    throwIfCancelled(signal);
  } catch (error) {
    await xen.destroy(domid);
    throw error;
  }
  if (!paused) await xen.unpause(domid);
  return domid;
}

async function refuseExisting(xen: LibxlSession, { name, uuid }: { name?: string; uuid?: string }): Promise<void> {
  const domains = await xen.listDomains();
  const existing = domains.find((domain) => domain.name === name || (uuid !== undefined && domain.uuid === uuid));
  if (!existing) return;
  const text = `'${existing.name}' (domid ${existing.domid}, UUID ${existing.uuid})`;
  throw new LibvirtError('DOM_EXIST', text);
}
