/**
 * Reads the names by which image headers refer to backing images, as QEMU does when it opens them (block.c:
 * bdrv_get_full_backing_filename, bdrv_open_backing_file, parse_json_protocol). Pure: no I/O.
 */

import { dirname, isAbsolute } from 'node:path';
import { FORMATS } from '../qemu/qemu-img.ts';

/** What a header refers to. `format` is absent if QEMU is to probe it. */
export type BackingName =
  | { readonly kind: 'file'; readonly path: string; readonly format?: string }
  /** Not on this host: read over the network, or without contents of its own. */
  | { readonly kind: 'remote'; readonly name: string }
  /** QEMU may open it, but which files that reads is not known; `reason` follows the name in a message. */
  | { readonly kind: 'unknown'; readonly name: string; readonly reason: string };

/** QEMU's drivers for files and block devices: an image of such a "format" is raw. */
const FILE_DRIVERS: ReadonlySet<string> = new Set(['file', 'host_device', 'host_cdrom']);
/** QEMU's drivers that read no file of this host; as protocols they may have a transport, `nbd+unix:`. */
const REMOTE: ReadonlySet<string> = new Set([
  ...['nbd', 'rbd', 'http', 'https', 'ftp', 'ftps', 'ssh', 'iscsi', 'iser', 'nfs', 'gluster', 'sheepdog'],
  ...['null-co', 'null-aio'],
]);

const JSON_PREFIX = 'json:';
/** path_has_protocol: a colon before the first slash. */
const PROTOCOL = /^([^/:]*):/;
/** A string of QEMU's JSON, which may be quoted by `'`. */
const QUOTED = /"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/gs;

type Options = Readonly<Record<string, unknown>>;

/** `overlay` is the path that QEMU has opened the overlay by, `format` the backing format in its header. */
export function readBackingName(
  name: string,
  { overlay, format }: { readonly overlay: string; readonly format?: string },
): BackingName {
  const unknown = (reason: string): BackingName => ({ kind: 'unknown', name, reason });
  if (format !== undefined && !FORMATS.has(format) && !FILE_DRIVERS.has(format)) {
    return unknown(`is said to have format '${format}', which QEMU does not have`);
  }
  if (name.startsWith(JSON_PREFIX)) return readOptions(name, format);
  const stated = format === undefined ? {} : { format: FILE_DRIVERS.has(format) ? 'raw' : format };
  const protocol = PROTOCOL.exec(name)?.[1];
  if (protocol === undefined) {
    return { kind: 'file', path: isAbsolute(name) ? name : besides(overlay, name), ...stated };
  }
  if (isRemote(protocol)) return { kind: 'remote', name };
  if (!FILE_DRIVERS.has(protocol)) return unknown(`is read by protocol '${protocol}', which xlsnap does not know`);
  const path = name.slice(protocol.length + 1);
  return isAbsolute(path) ? { kind: 'file', path, ...stated } : unknown(RELATIVE);
}

/** The name of the file that holds an image's data, in the header of a qcow2 image. */
export function readDataFileName(name: string): BackingName {
  if (isAbsolute(name)) return { kind: 'file', path: name, format: 'raw' };
  return { kind: 'unknown', name, reason: PROTOCOL.test(name) ? 'is not a path' : RELATIVE };
}

const RELATIVE = "is a file in QEMU's working directory, which is not known";

/** As text, as in QEMU: the folder is that of the overlay's name, also if that is a link. */
function besides(overlay: string, name: string): string {
  const folder = dirname(overlay);
  return `${folder === '/' ? '' : folder}/${name}`;
}

function isRemote(protocol: string): boolean {
  return REMOTE.has(protocol.replace(/\+.*/s, ''));
}

/** The name is a list of options, as those of -blockdev. The header's format replaces their driver, as in QEMU. */
function readOptions(name: string, format: string | undefined): BackingName {
  try {
    const options = nested(parseJson(name.slice(JSON_PREFIX.length)));
    const found = imageOf(format === undefined ? options : { ...options, driver: format });
    return found.kind === 'remote' ? { ...found, name } : found;
  } catch (error) {
    return { kind: 'unknown', name, reason: (error as Error).message };
  }
}

type FoundFile = Extract<BackingName, { kind: 'file' }>;
type Found = FoundFile | { readonly kind: 'remote' };

/** The image that a block node with these options reads. Throws the reason if that is not known. */
function imageOf(options: Options): Found {
  const { driver, file } = options;
  if (typeof driver === 'string' && FILE_DRIVERS.has(driver)) return { ...fileOf(options), format: 'raw' };
  if (typeof driver === 'string' && isRemote(driver)) return { kind: 'remote' };
  if (driver !== undefined && !(typeof driver === 'string' && FORMATS.has(driver))) {
    throw new Error(`is read by driver '${String(driver)}', which xlsnap does not know`);
  }
  for (const key of ['backing', 'data-file', 'offset', 'size']) {
    if (key in options) throw new Error(`has option '${key}', which xlsnap does not know`);
  }
  if (!isOptions(file)) throw new Error('does not name a file');
  const found = contentsOf(file);
  return found.kind === 'file' && driver !== undefined ? { ...found, format: driver } : found;
}

/** What a format reads: a file, also through raw images, or something remote. */
function contentsOf(options: Options): Found {
  if (options.driver === undefined) return fileOf(options);
  const found = imageOf(options);
  if (found.kind === 'remote') return found;
  if (found.format !== 'raw') throw new Error('is an image inside an image');
  return { kind: 'file', path: found.path };
}

function fileOf({ filename }: Options): FoundFile {
  if (typeof filename !== 'string') throw new Error('does not name a file');
  if (!isAbsolute(filename)) throw new Error(RELATIVE);
  return { kind: 'file', path: filename };
}

function isOptions(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseJson(text: string): Options {
  let value: unknown;
  try {
    value = JSON.parse(
      text.replace(QUOTED, (whole, inner?: string) => (inner === undefined ? whole : requoted(inner))),
    );
  } catch {
    throw new Error('is not JSON');
  }
  if (!isOptions(value)) throw new Error('is not a JSON object');
  return value;
}

function requoted(inner: string): string {
  return `"${inner.replaceAll("\\'", "'").replace(/(?<!\\)"/g, '\\"')}"`;
}

/** `{ "file.filename": x }` is `{ "file": { "filename": x } }`. */
function nested(options: Options): Options {
  const result: Record<string, unknown> = Object.create(null);
  for (const [key, value] of Object.entries(options)) {
    const [first = '', ...rest] = key.split('.');
    const inner = rest.length > 0 ? { [rest.join('.')]: value } : value;
    const known = result[first];
    result[first] = isOptions(known) && isOptions(inner) ? { ...known, ...inner } : inner;
  }
  for (const [key, value] of Object.entries(result)) if (isOptions(value)) result[key] = nested(value);
  return result;
}
