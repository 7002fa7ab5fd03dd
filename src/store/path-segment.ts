/** Names that come from clients and become parts of paths. The policy has its own rules; this one keeps us in our folder. */

import { LibvirtError } from '../errors.ts';

/** The name itself, if it is one path segment and nothing else. */
export function pathSegment(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new LibvirtError('INVALID_ARG', `'${name}' cannot be the name of a file`);
  }
  return name;
}
