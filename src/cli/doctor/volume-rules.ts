/** Snapshots in disks' own storage whose names show that xlsnap made them, as on LVM and ZFS, but without metadata. */

import { storedSnapshots } from '../../disks/backends.ts';
import type { StoredSnapshot } from '../../disks/storage-backend.ts';
import { type DoctorFinding, hasRecord, type Known } from './file-rules.ts';
import type { OwnedDisk } from './owned-disks.ts';

/** A snapshot that was found on a volume of a domain's disk. */
export interface FoundVolume extends StoredSnapshot, OwnedDisk {}

/** Each once. Reads only. */
export async function foundVolumes(disks: readonly OwnedDisk[]): Promise<readonly FoundVolume[]> {
  const found = new Map<string, FoundVolume>();
  for (const owned of disks) {
    for (const each of await storedSnapshots(owned.disk)) {
      if (each.isOurs) found.set(each.place, { ...each, ...owned });
    }
  }
  return [...found.values()];
}

/** `found` must be read before `known`: then a snapshot that is taken in between is in `known`. */
export function volumeFindings(found: readonly FoundVolume[], known: Known): readonly DoctorFinding[] {
  const named = new Set(
    known.domains.flatMap(({ snapshots }) =>
      snapshots.flatMap(({ name, disks }) => disks.map(({ image }) => `${image.path} ${name}`)),
    ),
  );
  const orphans = found.filter(
    ({ domain, disk, snapshot }) => !hasRecord(known, domain.uuid) && !named.has(`${disk.pdev_path} ${snapshot}`),
  );
  return orphans.flatMap(({ domain, snapshot }, index): DoctorFinding | [] => {
    const volumes = orphans.filter((other) => other.domain.uuid === domain.uuid && other.snapshot === snapshot);
    if (volumes[0] !== orphans[index]) return [];
    const all = volumes.map(({ place }) => `'${place}'`).join(', ');
    return {
      level: 'problem',
      problem: `${all}: ${volumes.length === 1 ? 'belongs' : 'belong'} to snapshot '${snapshot}' of domain '${domain.name}', which has no metadata`,
      wayOut:
        'define the snapshot again (virsh snapshot-create --redefine); or xlsnap doctor --fix --orphans deletes it',
      orphan: { uuid: domain.uuid, snapshot, disks: volumes.map(({ disk }) => disk) },
    };
  });
}
