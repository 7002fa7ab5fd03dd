/** What reverts of several disks have left on their storage, with the commands that put it back or remove it. */

import { revertLeftovers } from '../../disks/backends.ts';
import type { RevertLeftover } from '../../disks/contents-before.ts';
import type { DomainRef } from '../../model/domain.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import { type DoctorFinding, hasRecord, type Known } from './file-rules.ts';
import type { OwnedDisk } from './owned-disks.ts';

interface FoundLeftover {
  readonly domain: DomainRef;
  readonly leftover: RevertLeftover;
}

/** Each once. Reads only. */
export async function foundLeftovers(disks: readonly OwnedDisk[]): Promise<readonly FoundLeftover[]> {
  const found = new Map<string, FoundLeftover>();
  for (const { domain, disk } of disks) {
    for (const leftover of await revertLeftovers(disk)) found.set(leftover.place, { domain, leftover });
  }
  return [...found.values()];
}

/** `found` must be read before `records`: a revert that has begun by then is in them, and needs what was found. */
export function leftoverFindings(found: readonly FoundLeftover[], records: Known['records']): readonly DoctorFinding[] {
  return found
    .filter(({ domain }) => !hasRecord({ records }, domain.uuid))
    .map(({ domain, leftover }) => ({ level: 'problem', ...textOf(leftover, `domain '${domain.name}'`) }));
}

function textOf(leftover: RevertLeftover, domain: string): Pick<DoctorFinding, 'problem' | 'wayOut'> {
  const { kind, place } = leftover;
  switch (kind) {
    case 'kept':
      return {
        problem: `${place} holds what a disk of ${domain} held before a revert that is not under way any more`,
        wayOut:
          `if nobody needs it, while the domain is off: ${shellCommand(...leftover.removal)}; ` +
          `to put it back, with those of the domain's other disks: ${shellCommand(...leftover.putBack)}`,
      };
    case 'scrap':
      return {
        problem: `${place} is left over from a revert of ${domain}`,
        wayOut: `remove it while the domain is off: ${shellCommand(...leftover.removal)}`,
      };
    case 'away':
      return {
        problem: `${place} is a disk of ${domain}, under another name since a revert that was interrupted`,
        wayOut: 'revert the domain to one of its snapshots (virsh snapshot-revert), which gives it its name back',
      };
  }
}
