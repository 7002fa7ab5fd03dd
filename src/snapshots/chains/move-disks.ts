/** A domain's definitions follow its images. */

import type { Move } from '../../model/disk-image.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { Host } from '../ports.ts';

/**
 * In one of the definitions, where the domain has it. A disk that stands on another image there (a persistent definition
 * may differ from the live one) is left alone.
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
