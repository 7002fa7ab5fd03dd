/** Images that another domain stands on: a merge would change what that one reads, and so would their removal. */

import { isLibvirtError, LibvirtError } from '../../errors.ts';
import { type Domain, isActive } from '../../model/domain.ts';
import type { XmlElement } from '../../model/element.ts';
import { diskImages } from '../../xml/domain/images.ts';
import type { Looking } from '../context.ts';
import { byFileKey, fileKey } from './files.ts';

/**
 * Refuses (55) to merge or remove an image that another domain uses, running or off: QEMU locks only those of running
 * domains. `touched`: paths. Reads only.
 */
export async function checkNotShared(context: Looking, domain: Domain, touched: readonly string[]): Promise<void> {
  for (const [path, other] of await sharedImages(context, domain, touched)) throw isShared(domain, other, path);
}

/**
 * Which of these paths another domain stands on, and which domain: in any of its definitions. `beneath`: only those that
 * its disks are overlays of. Reads only.
 */
export async function sharedImages(
  { host, images }: Looking,
  domain: Domain,
  paths: readonly string[],
  where: 'anywhere' | 'beneath' = 'anywhere',
): Promise<ReadonlyMap<string, Domain>> {
  const shared = new Map<string, Domain>();
  const files = await byFileKey(paths);
  if (files.size === 0) return shared;
  for (const other of await host.list()) {
    if (other.ref.uuid === domain.ref.uuid) continue;
    const definitions = await definitionsOf(host, other).catch(noneIfGone);
    for (const tip of definitions.flatMap((definition) => [...diskImages(definition).values()])) {
      // One that cannot be read is not there, or is its own domain's trouble.
      const chain = await images.chain(tip).catch(() => [tip]);
      for (const { path } of where === 'beneath' ? chain.slice(1) : chain) {
        const file = files.get(await fileKey(path));
        if (file !== undefined) shared.set(file, other);
      }
    }
  }
  return shared;
}

async function definitionsOf(host: Looking['host'], domain: Domain): Promise<readonly XmlElement[]> {
  const live = await host.definition(domain, 'live');
  return domain.persistent && isActive(domain) ? [live, await host.definition(domain, 'persistent')] : [live];
}

/** A domain that went between the list and a look at it stands on nothing. */
function noneIfGone(error: unknown): readonly XmlElement[] {
  if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
  return [];
}

function isShared({ ref }: Domain, other: Domain, path: string): LibvirtError {
  return new LibvirtError(
    'OPERATION_INVALID',
    `image '${path}' of domain '${ref.name}' is also what domain '${other.ref.name}' stands on, and merging layers would ` +
      'change it: give that one an image of its own first, or forget the snapshot with --metadata',
  );
}
