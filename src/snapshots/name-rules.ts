/** Refuses names that a snapshot cannot have, and paths that its files cannot have. */

import { LibvirtError } from '../errors.ts';
import type { DomainDefinition } from '../model/domain.ts';
import { textAt } from '../model/element.ts';

/** The 255 bytes of a file name without the longest of our suffixes. qemu-img would cut a longer name. */
export const NAME_BYTES = 255 - '.save.partial'.length;

/** What a qcow2 header has for the name of its backing image (QEMU's limit); qemu-img says no more than `Invalid argument`. */
const BASE_BYTES = 1023;

/** libvirt writes line ends and tabs unescaped, and reads others back. The other control characters serve nobody. */
const CONTROL = /\p{Cc}/u;

/** QEMU's monitor refuses a command with one of these code points of Unicode, which stand for no character. */
const NONCHARACTER = /[\p{Noncharacter_Code_Point}\p{Surrogate}]/u;

/**
 * Names become file names: libvirt's two rules (virDomainMomentDefPostParse, code 35), and what a file name can hold.
 */
export function checkName(name: string): void {
  if (name.includes('/')) throw invalidName(name, "name can't contain '/'");
  if (name.startsWith('.')) throw invalidName(name, "name can't start with '.'");
  checkInternalName(name);
}

/** The rules for a snapshot without metadata: its name is only inside the images. */
export function checkInternalName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > NAME_BYTES) throw invalidName(name, `name can't be longer than ${NAME_BYTES} bytes, and has ${bytes}`);
  const problem = unkept(name);
  if (problem) throw invalidName(name, `name can't contain ${problem}`);
}

/** The error for a name, with the reason. */
export function invalidName(name: string, reason: string): LibvirtError {
  return new LibvirtError('XML_DETAIL', `invalid snapshot name '${name}': ${reason}`, { domain: 'DOMAIN_SNAPSHOT' });
}

/** Refuses (67) a memory file whose path would be another one when it is read again. */
export function checkMemoryPath(path: string): void {
  const problem = unkept(path);
  if (problem) throw unsupported(`memory file '${path}' has ${problem} in its path: choose another path`);
}

/**
 * Refuses (67) an image from which the domain could not be started again: the running guest is moved there by QEMU,
 * which takes every path, and the fault would show at the next start. `advice`: how to get another path.
 */
export function checkImagePath(
  what: 'overlay' | 'destination',
  { disk, path }: { readonly disk: string; readonly path: string },
  definition: DomainDefinition,
  advice: string,
): void {
  const isXen = definition.element.attributes.type === 'xen';
  const problem = unkept(path) ?? (isXen ? unstartable(path, definition) : undefined);
  if (problem) throw unsupported(`${what} '${path}' of disk '${disk}' has ${problem} in its path: ${advice}`);
}

/** Refuses (67) an image whose path no overlay's header can hold. */
export function checkBasePath({ disk, path }: { readonly disk: string; readonly path: string }): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= BASE_BYTES) return;
  const limit = `an overlay's header holds a path of its base of at most ${BASE_BYTES} bytes`;
  throw unsupported(
    `image '${path}' of disk '${disk}' has a path of ${bytes} bytes, and ${limit}: name it by a shorter one`,
  );
}

function unkept(text: string): string | undefined {
  if (CONTROL.test(text)) return 'a control character';
  return NONCHARACTER.test(text) ? 'a code point that QEMU does not accept' : undefined;
}

/**
 * QEMU's Xen backend reads a disk's parameters from xenstore up to the first white space (xs_node_scanf with `%ms`).
 * libxl gives an HVM guest's disks to QEMU as `-drive file=PATH,if=ide,…`, without doubling commas as QEMU asks for.
 */
function unstartable(path: string, { element }: DomainDefinition): string | undefined {
  if (/[ \t\n\v\f\r]/.test(path)) return 'white space, at which Xen ends it,';
  if (path.includes(',') && textAt(element, 'os', 'type') === 'hvm') return 'a comma, at which libxl ends it,';
  return undefined;
}

function unsupported(detail: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', detail);
}
