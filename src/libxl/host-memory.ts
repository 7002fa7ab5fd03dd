/** What libxl says of the host's memory. Reads only. */

import type { HostMemory } from '../model/host-memory.ts';
import { XEN } from './toolstack.ts';

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
