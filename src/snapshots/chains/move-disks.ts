/** Records a domain's new active images in its definitions. */

import type { Move } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { Host } from '../ports/host.ts';

/**
 * In one of the definitions, if the domain has it. A disk with another active image there (a persistent definition may
 * differ from the live one) is left as it is.
 */
export async function moveDisks(
  host: Host,
  domain: Domain,
  which: 'live' | 'persistent',
  moves: readonly Move[],
): Promise<void> {
  if (moves.length === 0 || (which === 'live' ? !isActive(domain) : !domain.persistent)) return;
  const { images: now } = await host.definition(domain, which);
  const concerned = moves.filter(({ disk, from }) => now.get(disk)?.path === from.path);
  if (concerned.length === 0) return;
  await host.setDisks(domain, new Map(concerned.map(({ disk, to }) => [disk, to])), which);
}
