import type { HostMemory } from '../../../libxl/host-memory.ts';
import type { Upstream } from '../upstream.ts';

/** What libvirt's Xen driver says of the host's memory, for a mechanism without libxl. */
export async function memoryByLibvirt(upstream: Upstream): Promise<HostMemory> {
  const active = (await upstream.listAllDomains()).filter(({ id }) => id >= 0);
  const domains = await Promise.all(
    active.map(async (ref) => ({ ...ref, kib: Number((await upstream.getInfo(ref)).memory) })),
  );
  return { freeKib: Number((await upstream.getFreeMemory()) / 1024n), domains };
}
