/** The flags and arguments of the calls about blocks: the checks of libvirt's public API and of the qemu driver. */

import { LibvirtError } from '../../errors.ts';

/** Refuses bits that the call does not know, as virCheckFlags does. */
export function refuseUnknownFlags(flags: number, known: Readonly<Record<string, number>>, call: string): void {
  const unknown = (flags & ~Object.values(known).reduce((sum, bit) => sum | bit, 0)) >>> 0;
  if (unknown === 0) return;
  throw new LibvirtError('INVALID_ARG', `unsupported flags (0x${unknown.toString(16)}) in function ${call}`, {
    argument: { function: call, name: 'flags' },
  });
}

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
