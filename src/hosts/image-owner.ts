/** Whose memory a saved image holds. */

import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { domainName, domainUuid, parseDomain } from '../xml/domain.ts';

/** Refuses, in libvirt's words, an image that restoring would make another domain of. `domainXml` is from its header. */
export function checkImageOwner(ref: DomainRef, domainXml: string): void {
  const owner = parseDomain(domainXml);
  const name = domainName(owner);
  const uuid = domainUuid(owner);
  if (name === ref.name && uuid === ref.uuid) return;
  const text = `cannot restore domain '${ref.name}' uuid ${ref.uuid} from a file which belongs to domain '${name}' uuid ${uuid}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
