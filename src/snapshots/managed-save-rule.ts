/** Memory that libvirtd has saved itself (virsh managedsave) goes on with the disk images of then. */

import { LibvirtError } from '../errors.ts';
import type { Domain } from '../model/domain.ts';

/** Refuses (55) to move disks onto overlays, or off them, while such memory waits: it would write beneath, or find no image. */
export function checkNoManagedSave({ ref, managedSave }: Domain, doing: string): void {
  if (!managedSave) return;
  throw new LibvirtError(
    'OPERATION_INVALID',
    `${doing} while domain '${ref.name}' has managed saved state, which goes on with the images of then, is not supported: ` +
      'start the domain first, or drop that state with managedsave-remove',
  );
}
