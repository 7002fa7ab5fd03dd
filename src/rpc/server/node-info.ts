/** Describes the machine that the server runs on, if there is no upstream libvirtd. */

import { cpus, hostname, totalmem } from 'node:os';
import { HOST_ARCH } from '../../model/domain.ts';
import { SNAPSHOT_FEATURES } from './capabilities.ts';

const KIB = 1024n;

/** virNodeInfo: one node and one socket, since Node knows no more. */
export function nodeInfo() {
  const processors = cpus();
  return {
    model: [...Buffer.from(HOST_ARCH)],
    memory: BigInt(totalmem()) / KIB,
    cpus: processors.length,
    mhz: processors[0]?.speed ?? 0,
    nodes: 1,
    sockets: 1,
    cores: processors.length,
    threads: 1,
  };
}

/** virConnectGetHostname. */
export { hostname };

/** A kind of guest that a host can run. */
export interface GuestKind {
  /** `os/type`: `hvm`. */
  readonly osType: string;
  /** `xenfv`; absent: the kind has no machines. */
  readonly machine?: string;
  /** Values of `<domain type>`. */
  readonly types: readonly string[];
}

/** virConnectGetCapabilities: the machine, and the kinds of guests, each with the feature of disk snapshots. */
export function capabilities(guests: readonly GuestKind[]): string {
  return `<capabilities>

  <host>
    <cpu>
      <arch>${HOST_ARCH}</arch>
    </cpu>
  </host>

${guests.map(guestElement).join('\n')}
</capabilities>
`;
}

function guestElement({ osType, machine, types }: GuestKind): string {
  const guest = HOST_ARCH;
  const wordsize = guest === 'i686' || guest === 'armv7l' ? 32 : 64;
  const machines = machine === undefined ? [] : [`<machine>${machine}</machine>`];
  const inArch = [`<wordsize>${wordsize}</wordsize>`, ...machines, ...types.map((type) => `<domain type='${type}'/>`)];
  return `  <guest>
    <os_type>${osType}</os_type>
    <arch name='${guest}'>
${inArch.map((line) => `      ${line}`).join('\n')}
    </arch>
    <features>
      ${SNAPSHOT_FEATURES.join('\n      ')}
    </features>
  </guest>
`;
}
