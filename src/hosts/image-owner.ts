/** Which domain a memory image belongs to. */

import { LibvirtError } from '../errors.ts';
import type { DomainDefinition, DomainRef } from '../model/domain.ts';
import { parseDefinition } from '../xml/domain/definition.ts';
import { domainName, domainUuid } from '../xml/domain/domain.ts';

/**
 * Refuses, in libvirt's words, an image that restoring would make another domain of. Its name does not matter: a domain
 * may have been renamed since. `domainXml` is from the image.
 */
export function checkImageOwner(ref: DomainRef, domainXml: string): DomainDefinition {
  const definition = parseDefinition(domainXml);
  const owner = definition.element;
  const uuid = domainUuid(owner);
  if (uuid === ref.uuid) return definition;
  const text = `cannot restore domain '${ref.name}' uuid ${ref.uuid} from a file which belongs to domain '${domainName(owner)}' uuid ${uuid}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}
