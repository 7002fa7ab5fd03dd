/** Images of saved domains in the format of libvirt's xen driver. */

import { readMemoryImage } from '../memory/image-file.ts';
import { redefineImage } from '../memory/redefine-image.ts';
import type { DomainRef } from '../model/domain.ts';
import type { SavedImages } from '../snapshots/ports/saves.ts';

/** `managedPath`: the name that the host gives to a domain's managed save. */
export function imageFiles(managedPath: (domain: DomainRef) => string): SavedImages {
  return {
    managedPath,
    read: async (path) => (await readMemoryImage(path)).domainXml,
    write: redefineImage,
  };
}
