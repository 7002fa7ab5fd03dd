/** What libxl says of the host's memory. Reads only. */

import { XEN } from './toolstack.ts';

/** The memory of a Xen host, as the hypervisor counts it. */
export interface HostMemory {
  /** KiB that no domain has, and none was promised. */
  readonly freeKib: number;
  /** All domains that have memory, Domain-0 too. */
  readonly domains: readonly DomainMemory[];
  /** The options that Xen was booted with; absent if they are not known. */
  readonly xenCommandLine?: string;
}

/** The memory of one domain. */
export interface DomainMemory {
  readonly id: number;
  readonly name: string;
  readonly uuid: string;
  readonly kib: number;
}

/** Of Xen's domains, on x86 and Arm. */
const PAGE_KIB = 4;

/** As libxl_get_free_memory counts what is free, without what Xen has promised to domains that are being made. */
export async function hostMemory(toolstack = XEN): Promise<HostMemory> {
  await using xen = toolstack.startHelper();
  const { free_pages = 0, scrub_pages = 0, outstanding_pages = 0 } = await xen.physinfo();
  const domains = await xen.listDomains();
  return {
    freeKib: (free_pages + scrub_pages - outstanding_pages) * PAGE_KIB,
    domains: domains.map(({ domid, name, uuid = '', current_memkb }) => ({
      id: domid,
      name,
      uuid,
      kib: current_memkb,
    })),
    xenCommandLine: await xen.commandLine(),
  };
}
