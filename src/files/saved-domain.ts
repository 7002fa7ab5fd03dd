/** Whose saved memory a file is: what a client names as memory may be any file. */

import { isLibvirtError, systemError } from '../errors.ts';
import { openImage, readAt } from './open-image.ts';

/** The first bytes of a domain that libvirt's xen driver, or xlsnapd, has saved. */
export const XEN_SAVE_MAGIC = 'libvirt-xml\n \0 \r';

/** The same of libvirt's other drivers. */
export const FOREIGN_SAVE_MAGICS = ['TestGuestMagic', 'LibvirtQemudSave'] as const;

/** Room for a header and the beginning of the definition behind it, in which the UUID follows the name. */
const BEGINNING_BYTES = 16 * 1024;
const UUID = /<uuid>([0-9a-f-]{36})<\/uuid>/i;

/** Returns the UUID of the domain whose save has written the file, as its definition says there; undefined for any other file. */
export async function savedDomainOf(path: string): Promise<string | undefined> {
  try {
    await using file = await openImage(path);
    const beginning = (await readAt(file, 0, BEGINNING_BYTES)).toString('latin1');
    if (![XEN_SAVE_MAGIC, ...FOREIGN_SAVE_MAGICS].some((magic) => beginning.startsWith(magic))) return undefined;
    return UUID.exec(beginning)?.[1]?.toLowerCase();
  } catch (error) {
    throw isLibvirtError(error) ? error : systemError(error, `cannot read '${path}'`);
  }
}
