/** Which images can be worked on at all: those that are what their paths name here, read as they are. */

import { LibvirtError } from '../errors.ts';
import type { DomainDisk } from '../model/domain.ts';
import type { DiskSnapshot, SnapshotDef } from '../model/snapshot.ts';

const CAPTURED: readonly DiskSnapshot['location'][] = ['internal', 'external'];

/**
 * Refuses (67) a snapshot with a disk that another domain serves (`<backenddomain>`): its path names a file there, and a file
 * of the same name here is somebody else's.
 */
export function checkServedHere({ name, disks, domain }: SnapshotDef): void {
  const captured = disks.filter(({ location }) => CAPTURED.includes(location)).map((disk) => disk.name);
  const foreign = domain?.disks.find(({ target, backendDomain }) => backendDomain && captured.includes(target));
  if (!foreign) return;
  throw unsupported(
    `snapshot '${name}' has disk '${foreign.target}', which domain '${foreign.backendDomain}' serves (<backenddomain>): ` +
      'only images of this host are supported; leave such a disk out with snapshot=no',
  );
}

/** Refuses (67) a disk whose image cannot be read, or continued in an overlay, without what its definition says. */
export function checkReadable({ target, unreadable: [element] = [] }: DomainDisk): void {
  if (element !== undefined) throw unsupported(`disk '${target}' has <${element}>: snapshots of it are not supported`);
}

function unsupported(detail: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', detail);
}
