/** Bandwidths in the calls about blocks, as libvirt's public API and its qemu driver check them. */

import { LibvirtError } from '../../errors.ts';

const LLONG_MAX = 2n ** 63n - 1n;
const MIB = 20n;

/** In bytes a second. `bytes`: the caller gave bytes, not MiB. */
export function speedOf(bandwidth: bigint, bytes: boolean): number {
  const max = bytes ? LLONG_MAX : LLONG_MAX >> MIB;
  if (bandwidth > max) throw new LibvirtError('OVERFLOW', `bandwidth must be less than ${max}`);
  return Number(bytes ? bandwidth : bandwidth << MIB);
}

/** In the unit that the caller asks for, rounded up. */
export function bandwidthOf(speed: number, bytes: boolean): bigint {
  const exact = BigInt(speed);
  return bytes ? exact : (exact + (1n << MIB) - 1n) >> MIB;
}
