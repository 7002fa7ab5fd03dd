/** Checks whether the guest in a memory image can continue with another definition. */

import { explained, LibvirtError } from '../errors.ts';
import type { DomainDefinition, DomainRef } from '../model/domain.ts';
import { checkAbiStability } from '../xml/abi/stability.ts';
import { parseDefinition, renamed } from '../xml/domain/definition.ts';
import { domainName, domainUuid } from '../xml/domain/domain.ts';
import { inactiveFormat } from '../xml/domain/formats.ts';

/** The definition in a memory image, `xml`, and the image's path for messages. */
export interface SavedDefinition {
  readonly path: string;
  readonly xml: string;
}

/**
 * Refuses, in libvirt's words, an image of another domain, by UUID. Its name does not matter: a domain may have been
 * renamed since.
 */
export function checkImageOwner(ref: DomainRef, { xml }: SavedDefinition): DomainDefinition {
  const definition = parseDefinition(xml);
  const owner = definition.element;
  const uuid = domainUuid(owner);
  if (uuid === ref.uuid) return definition;
  const text = `cannot restore domain '${ref.name}' uuid ${ref.uuid} from a file which belongs to domain '${domainName(owner)}' uuid ${uuid}`;
  throw new LibvirtError('OPERATION_FAILED', text);
}

/**
 * Refuses (9, 67) an image that is not the domain's, or whose guest would notice the change to `definition`, as
 * libvirt's qemu driver does (qemuSnapshotRevertExternalPrepare). What a guest does not notice (emulator, kernel,
 * scripts) may differ: a restore uses `definition`, and nothing of the image's. The balloon may have moved since it was
 * planned.
 */
export function checkSavedDefinition(ref: DomainRef, saved: SavedDefinition, definition: DomainDefinition): void {
  const own = renamed(checkImageOwner(ref, saved), domainName(definition.element));
  try {
    checkAbiStability(inactiveFormat(own.element), definition.element, { balloon: 'may differ' });
  } catch (error) {
    const text = `memory image '${saved.path}' was saved with another definition than the snapshot has: put the image there that belongs to the snapshot`;
    throw explained(error, text);
  }
}
