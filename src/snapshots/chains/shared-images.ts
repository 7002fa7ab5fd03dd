/** Images that another domain uses too: merging or removing one would change what that domain reads. */

import { isLibvirtError, LibvirtError } from '../../errors.ts';
import { type Domain, type DomainDefinition, isActive } from '../../model/domain.ts';
import type { Looking } from '../context.ts';
import { byFileKey } from './files.ts';

/**
 * Refuses (55) to merge or remove an image that another domain uses, running or off: QEMU locks only those of running
 * domains. `touched`: paths. Reads only.
 */
export async function checkNotShared(context: Looking, domain: Domain, touched: readonly string[]): Promise<void> {
  for (const [path, other] of await sharedImages(context, domain, touched)) throw isShared(domain, other, path);
}

/**
 * Returns those of the paths that another domain uses, and which domain: in any of its definitions. `as base`: only those
 * that its active images are overlays of. Reads only.
 */
export async function sharedImages(
  { host, images }: Looking,
  domain: Domain,
  paths: readonly string[],
  use: 'anywhere' | 'as base' = 'anywhere',
): Promise<ReadonlyMap<string, Domain>> {
  const shared = new Map<string, Domain>();
  const files = await byFileKey(images, paths);
  if (files.size === 0) return shared;
  for (const other of await host.list()) {
    if (other.ref.uuid === domain.ref.uuid) continue;
    const definitions = await definitionsOf(host, other).catch(noneIfGone);
    for (const tip of definitions.flatMap((definition) => [...definition.images.values()])) {
      // An unreadable image is missing, or a matter of its own domain.
      const chain = await images.chain(tip).catch(() => [tip]);
      for (const { path } of use === 'as base' ? chain.slice(1) : chain) {
        const file = files.get(await images.fileKey(path));
        if (file !== undefined) shared.set(file, other);
      }
    }
  }
  return shared;
}

async function definitionsOf(host: Looking['host'], domain: Domain): Promise<readonly DomainDefinition[]> {
  const live = await host.definition(domain, 'live');
  return domain.persistent && isActive(domain) ? [live, await host.definition(domain, 'persistent')] : [live];
}

/** A domain that is gone since the list was made uses nothing. */
function noneIfGone(error: unknown): readonly DomainDefinition[] {
  if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
  return [];
}

function isShared({ ref }: Domain, other: Domain, path: string): LibvirtError {
  return new LibvirtError(
    'OPERATION_INVALID',
    `image '${path}' of domain '${ref.name}' is also used by domain '${other.ref.name}', and merging overlays would change ` +
      'it: give that domain an image of its own first, or forget the snapshot with --metadata',
  );
}
