/** Estimates the size of a memory image. */

/** Measured on real Xen: 1.016 times the RAM, by page records; libvirt's header and the device state come on top. */
const IMAGE_FACTOR = 1.02;
const EXTRA_BYTES = 4 * 1024 * 1024;

/** Returns the largest size, in bytes, of the image of a guest with `ramKib` that is stopped while it is written. */
export function memoryImageBytes(ramKib: number): number {
  return Math.ceil(ramKib * 1024 * IMAGE_FACTOR) + EXTRA_BYTES;
}
