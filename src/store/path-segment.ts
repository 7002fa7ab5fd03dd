/** Checks names from clients before they become parts of paths. The policy has its own rules; this keeps us in our folder. */

import { LibvirtError } from '../errors.ts';

/** Returns the name. Refuses (INVALID_ARG) one that is not a single path segment. */
export function pathSegment(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new LibvirtError('INVALID_ARG', `'${name}' cannot be the name of a file`);
  }
  return name;
}
