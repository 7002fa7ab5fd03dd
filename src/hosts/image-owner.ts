/** Which domain a memory image belongs to. */

import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { XmlElement } from '../model/element.ts';
import { domainName, domainUuid, parseDomain } from '../xml/domain/domain.ts';

/**
 * Refuses, in libvirt's words, an image that restoring would make another domain of. Its name does not matter: a domain
 * may have been renamed since. `domainXml` is from the image.
 */
export function checkImageOwner(ref: DomainRef, domainXml: string): XmlElement {
  const owner = parseDomain(domainXml);
  const uuid = domainUuid(owner);
  if (uuid === ref.uuid) return owner;
  const text = `cannot restore domain '${ref.name}' uuid ${ref.uuid} from a file which belongs to domain '${domainName(owner)}' uuid ${uuid}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
