/** Snapshots inside disk images, and layers over them, that nobody names. They may be anybody's: they are only reported. */

import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { imageInfo } from '../../disks/qemu/image-info.ts';
import { isQcow2Image } from '../../disks/qemu/qcow2-table.ts';
import type { FoundImage } from '../storage/disk-images.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import type { DoctorFinding, Orphan } from './file-rules.ts';

/** `images`: all those of all domains. `orphans`: those whose parts inside images are spoken of with their memory. */
export function insideFindings(
  domains: readonly DomainFacts[],
  images: readonly FoundImage[],
  orphans: readonly Orphan[],
): readonly DoctorFinding[] {
  const named = new Set(
    domains.flatMap(({ snapshots }) =>
      snapshots.flatMap(({ name, disks }) =>
        disks.filter(({ overlay }) => !overlay).map(({ image }) => key(image.path, name)),
      ),
    ),
  );
  const ofOrphans = new Set(orphans.map(({ snapshot }) => snapshot));
  return images.flatMap(({ path, info }) =>
    (info?.snapshots ?? []).flatMap(({ name }): DoctorFinding | [] => {
      if (named.has(key(path, name)) || ofOrphans.has(name)) return [];
      return {
        level: 'note',
        problem: `image '${path}' has an internal snapshot '${name}' that no domain's metadata names`,
        wayOut: `leave it, or where nobody needs it, with the domain off: qemu-img snapshot -d '${name}' '${path}'`,
      };
    }),
  );
}

function key(path: string, snapshot: string): string {
  return `${path}\0${snapshot}`;
}

/** Looks into the folders of the images that domains use. */
export async function overlayFindings(images: readonly FoundImage[]): Promise<readonly DoctorFinding[]> {
  const known = new Set(images.map(({ path }) => path));
  const findings: DoctorFinding[] = [];
  for (const folder of new Set([...known].map(dirname))) {
    const names = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of names) {
      const path = join(folder, entry.name);
      if (!entry.isFile() || known.has(path) || !(await isQcow2Image(path).catch(() => false))) continue;
      const info = await imageInfo({ path, format: 'qcow2' }).catch(() => undefined);
      if (!info?.backing || !known.has(info.backing.path)) continue;
      findings.push({
        level: 'note',
        problem: `'${path}' is a layer over '${info.backing.path}', and no domain or snapshot names it`,
        wayOut: 'leave it, or remove it where nobody needs it: what was written to it is in no other file',
      });
    }
  }
  return findings;
}
