/** A managed save resumes on the disk images that were in use when it was made. */

import { LibvirtError } from '../errors.ts';
import type { Domain } from '../model/domain.ts';

/**
 * Refuses (55) to change the active images of a domain with a managed save: resumed, it would write to a base, or find
 * no image.
 */
export function checkNoManagedSave({ ref, managedSave }: Domain, doing: string): void {
  if (!managedSave) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `${doing} while domain '${ref.name}' has a managed save, which would resume on the present images, is not supported: ` +
      'start the domain first, or drop that state with managedsave-remove',
  );
}
