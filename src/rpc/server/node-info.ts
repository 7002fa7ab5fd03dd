/** Describes the machine that the server runs on, if there is no upstream libvirtd. */

import { arch, cpus, hostname, totalmem } from 'node:os';
import { DISK_SNAPSHOT } from './capabilities.ts';

/** libvirt's names of processors, by Node's. */
const ARCH: Readonly<Record<string, string>> = { x64: 'x86_64', ia32: 'i686', arm64: 'aarch64', arm: 'armv7l' };
const KIB = 1024n;

const architecture = (): string => ARCH[arch()] ?? arch();

/** virNodeInfo: one node and one socket, since Node knows no more. */
export function nodeInfo() {
  const processors = cpus();
  return {
    model: [...Buffer.from(architecture())],
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

/**
 * virConnectGetCapabilities: the host, and the guests of `domainType` that it can run, with the feature of disk
 * snapshots.
 */
export function capabilities(domainType: string): string {
  const guest = architecture();
  const wordsize = guest === 'i686' || guest === 'armv7l' ? 32 : 64;
  return `<capabilities>

  <host>
    <cpu>
      <arch>${guest}</arch>
    </cpu>
  </host>

  <guest>
    <os_type>hvm</os_type>
    <arch name='${guest}'>
      <wordsize>${wordsize}</wordsize>
      <domain type='${domainType}'/>
    </arch>
    <features>
      ${DISK_SNAPSHOT}
    </features>
  </guest>

</capabilities>
`;
}
