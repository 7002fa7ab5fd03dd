/** The header of qcow2 images and its extensions (docs/interop/qcow2.txt of QEMU). */

import { damaged, type ImageHeader, type ReadAt, readName, textOf } from './header-fields.ts';

/** Offsets in the header. `features` and what follows is in version 3 alone. */
const AT = { version: 4, backing: 8, backingLength: 16, clusterBits: 20, features: 72, length: 100 } as const;
/** Where a header of version 2 ends, and how many bytes of version 3 are read. */
const BYTES = { version2: 72, version3: 104 } as const;
const MAGIC = 0x514649fb;
const CLUSTER_BITS = { min: 9, max: 21 } as const;
/** Incompatible feature: the data is in another file. */
const DATA_FILE = 4n;
const EXTENSIONS = { end: 0, backingFormat: 0xe2792aca, dataFile: 0x44415441 } as const;
/** QEMU's limits of what these two hold. */
const MAX_BYTES = { backingFormat: 15, dataFile: 1023 } as const;

export async function readQcow2Header(read: ReadAt): Promise<ImageHeader> {
  const header = await read(0, BYTES.version3);
  const version = header.readUInt32BE(AT.version);
  if (header.readUInt32BE(0) !== MAGIC) throw damaged('Image is not in qcow2 format');
  if (version !== 2 && version !== 3) throw damaged(`Unsupported qcow2 version ${version}`);
  const clusterBits = header.readUInt32BE(AT.clusterBits);
  if (clusterBits < CLUSTER_BITS.min || clusterBits > CLUSTER_BITS.max) throw damaged('its cluster size is damaged');
  const position = header.readBigUInt64BE(AT.backing);
  const end = position === 0n ? 2 ** clusterBits : Number(position);
  const begin = version === 2 ? BYTES.version2 : header.readUInt32BE(AT.length);
  const extensions = await readExtensions(read, begin, Math.min(end, 2 ** clusterBits));
  const name = position === 0n ? '' : await readName(read, position, header.readUInt32BE(AT.backingLength));
  const hasDataFile = version === 3 && (header.readBigUInt64BE(AT.features) & DATA_FILE) !== 0n;
  const { backingFormat, dataFile } = extensions;
  if (hasDataFile && !dataFile) throw damaged('its data is in another file, which its header does not name');
  return {
    format: 'qcow2',
    ...(name !== '' && { backing: { name, ...(backingFormat && { format: backingFormat }) } }),
    dataFiles: hasDataFile && dataFile ? [dataFile] : [],
  };
}

type Extensions = Partial<Record<keyof typeof MAX_BYTES, string>>;

async function readExtensions(read: ReadAt, begin: number, end: number): Promise<Extensions> {
  const found: Extensions = {};
  for (let at = begin; at + 8 <= end; ) {
    const head = await read(at, 8);
    const type = head.readUInt32BE(0);
    const length = head.readUInt32BE(4);
    if (type === EXTENSIONS.end) break;
    if (length > end - at - 8) throw damaged('Header extension too large');
    for (const key of ['backingFormat', 'dataFile'] as const) {
      if (type !== EXTENSIONS[key]) continue;
      if (length > MAX_BYTES[key]) throw damaged('Header extension too large');
      found[key] = textOf(await read(at + 8, length));
    }
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}
