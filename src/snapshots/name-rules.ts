/** Which names a snapshot may have. */

import { LibvirtError } from '../errors.ts';

/** What is left of a file name's 255 bytes when the longest of our suffixes is taken off. qemu-img would cut the name. */
export const NAME_BYTES = 255 - '.save.partial'.length;

/** Names become file names: libvirt's two rules (virDomainMomentDefPostParse, code 35), and what a file name can hold. */
export function checkName(name: string): void {
  if (name.includes('/')) throw invalidName(name, "name can't contain '/'");
  if (name.startsWith('.')) throw invalidName(name, "name can't start with '.'");
  checkNameLength(name);
}

export function checkNameLength(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES) throw invalidName(name, `name can't be longer than ${NAME_BYTES} bytes, and has ${bytes}`);
}

export function invalidName(name: string, reason: string): LibvirtError {
  return new LibvirtError('XML_DETAIL', `invalid snapshot name '${name}': ${reason}`, { domain: 'DOMAIN_SNAPSHOT' });
}
