/** A `<disk>` document, as virDomainBlockCopy gets it: the image that is to become the disk's (virDomainDiskDefParseSource). */

import { LibvirtError } from '../../errors.ts';
import { childAt, childElements } from '../../model/element.ts';
import { parseXml } from '../engine/parse.ts';
import { readDisk } from './disks.ts';

/** A local file or device. */
export interface DiskDocument {
  readonly path: string;
  readonly format?: string;
  /** `type='block'`. */
  readonly block: boolean;
}

/** Refuses (67) what is no file or device of this host, and what nobody here would honour. */
export function readDiskDocument(text: string): DiskDocument {
  const root = parseXml(text, 'disk_definition');
  if (root.name !== 'disk') {
    throw new LibvirtError('INTERNAL_ERROR', `expecting root element of 'disk', not '${root.name}'`);
  }
  const { type, path, format, unreadable = [] } = readDisk(root);
  const backing = childAt(root, 'backingStore');
  const unhonoured = backing && childElements(backing).length > 0 ? [...unreadable, 'backingStore'] : unreadable;
  if ((type !== 'file' && type !== 'block') || path === undefined || unhonoured.length > 0) {
    const what = unhonoured.length > 0 ? `<${unhonoured[0]}>` : `a source of type '${type}'`;
    throw new LibvirtError('CONFIG_UNSUPPORTED', `${what} is not supported for the destination of a block copy`);
  }
  return { path, ...(format !== undefined && { format }), block: type === 'block' };
}
