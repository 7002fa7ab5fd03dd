/** Finds internal snapshots and overlays that no metadata names. Only reports them: they may belong to somebody else. */

import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { backingImage } from '../../disks/chain/chains.ts';
import { fileKey } from '../../disks/file-key.ts';
import { BEFORE_REVERT } from '../../disks/qemu/before-revert.ts';
import { isQcow2Image } from '../../disks/qemu/qcow2-table.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import type { FoundImage } from '../storage/disk-images.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import { formatBytes } from '../terminal/quantities.ts';
import type { DoctorFinding, Orphan } from './file-rules.ts';
import { allocatedBytes } from './folder-contents.ts';

/** `images`: those of all domains. `orphans`: snapshots that are reported with their memory already. */
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
      if (named.has(key(path, name)) || ofOrphans.has(name) || name === BEFORE_REVERT) return [];
      return {
        level: 'note',
        problem: `image '${path}' has an internal snapshot '${name}' that no domain's metadata names`,
        wayOut: `leave it; or if nobody needs it, while the domain is off: ${shellCommand('qemu-img', 'snapshot', '-d', name, path)}`,
      };
    }),
  );
}

function key(path: string, snapshot: string): string {
  return `${path}\0${snapshot}`;
}

/** Finds overlays in the folders of the images that domains use. `images`: those of all domains. */
export async function overlayFindings(
  images: readonly FoundImage[],
  domains: readonly DomainFacts[],
): Promise<readonly DoctorFinding[]> {
  const known = new Map<string, string>();
  const overlays = domains.flatMap(({ snapshots }) => snapshots.flatMap((snapshot) => snapshot.overlays));
  for (const { path } of [...images, ...overlays]) known.set(await fileKey(path), path);
  const findings: DoctorFinding[] = [];
  for (const folder of new Set(images.map(({ path }) => dirname(path)))) {
    const names = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of names) {
      const path = join(folder, entry.name);
      if (!entry.isFile() || known.has(await fileKey(path))) continue;
      if (!(await isQcow2Image(path).catch(() => false))) continue;
      const backing = await backingImage({ path, format: 'qcow2' }).catch(() => undefined);
      const base = backing && known.get(await fileKey(backing.path));
      if (base === undefined) continue;
      const bytes = (await allocatedBytes(path)) ?? 0;
      findings.push({
        level: 'note',
        problem: `'${path}' is an overlay of '${base}' that no domain or snapshot names (${formatBytes(bytes)})`,
        wayOut: `leave it; or if nobody needs it, since what was written to it is in no other file: ${shellCommand('rm', path)}`,
        bytes,
      });
    }
  }
  return findings;
}
