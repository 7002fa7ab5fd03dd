/** Which other images a qcow2 image names: in its header, and in the extensions of that. */

import {
  damaged,
  EXTENSION,
  INCOMPATIBLE,
  type Qcow2Header,
  type ReadAt,
  readExtensions,
  readQcow2Header,
} from '../qemu/qcow2-header.ts';
import { type ImageHeader, readName, textOf } from './header-fields.ts';

/** QEMU's limits of what these two hold. */
const MAX_BYTES = { backingFormat: 15, dataFile: 1023 } as const;

export async function readQcow2Images(read: ReadAt): Promise<ImageHeader> {
  const header = await readQcow2Header(read);
  const { backingFormat, dataFile } = await readNames(read, header);
  const { backing } = header;
  const name = backing ? await readName(read, backing.position, backing.bytes) : '';
  const hasDataFile = (header.incompatible & INCOMPATIBLE.dataFile) !== 0n;
  if (hasDataFile && !dataFile) throw damaged('its data is in another file, which its header does not name');
  return {
    format: 'qcow2',
    ...(name !== '' && { backing: { name, ...(backingFormat && { format: backingFormat }) } }),
    dataFiles: hasDataFile && dataFile ? [dataFile] : [],
  };
}

type Names = Partial<Record<keyof typeof MAX_BYTES, string>>;

async function readNames(read: ReadAt, header: Qcow2Header): Promise<Names> {
  const names: Names = {};
  for (const { type, position, bytes } of await readExtensions(read, header)) {
    for (const key of ['backingFormat', 'dataFile'] as const) {
      if (type !== EXTENSION[key]) continue;
      if (bytes > MAX_BYTES[key]) throw damaged('Header extension too large');
      names[key] = textOf(await read(position, bytes));
    }
  }
  return names;
}
