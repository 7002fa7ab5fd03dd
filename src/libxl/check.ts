/** Refuses what cannot be saved, before anything is touched. */

import { refusalOf } from '../disks/backends.ts';
import { LibvirtError } from '../errors.ts';
import { requireFreeSpace } from '../memory/free-space.ts';
import { requestedMemoryPath } from '../memory/requested-path.ts';
import type { LibxlDeviceDisk, LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../model/libxl.ts';
import type { DomainConfig, DomainInfo } from './helper/protocol.ts';
import type { LibxlSession, Toolstack } from './toolstack.ts';

/** Fields of libxl_device_pci. */
export interface PciAddress {
  readonly domain?: number;
  readonly bus?: number;
  readonly dev?: number;
  readonly func?: number;
}

/** The fields of libxl_domain_config that are read here. */
export interface ConfigFacts {
  readonly b_info?: { readonly vnuma_nodes?: readonly unknown[] };
  readonly disks?: readonly LibxlDeviceDisk[];
  readonly pcidevs?: readonly PciAddress[];
}

/** A domain that can be snapshotted with these parameters. */
export interface Savable {
  readonly info: DomainInfo;
  readonly config: DomainConfig;
  /** The disks to capture, with the domains that run their backends, which libxl knows. */
  readonly disks: readonly LibxlDiskSnapshot[];
}

/** Returns the domain if it can be snapshotted with these parameters. Reads only. */
export async function requireSavable(
  toolstack: Toolstack,
  xen: LibxlSession,
  domid: number,
  args: LibxlDomainSnapshotArgs,
): Promise<Savable> {
  if (domid === 0) throw new LibvirtError('OPERATION_INVALID', 'Domain-0 cannot be snapshotted: it runs this program');
  const info = await requireAlive(xen, domid);
  const config = await xen.domainConfig(domid);
  const disks = disksOf(config as ConfigFacts, args);
  for (const disk of disks) {
    const refusal = await refusalOf(disk);
    if (refusal !== undefined) throw new LibvirtError('CONFIG_UNSUPPORTED', refusal);
  }
  const memoryPath = requestedMemoryPath(args);
  if (memoryPath !== undefined) {
    await requireMemorySavable({
      toolstack,
      xen,
      domid,
      info,
      config: config as ConfigFacts,
      live: args.live === true,
    });
    await requireFreeSpace(memoryPath, info.current_memkb ?? 0, { live: args.live === true });
  }
  return { info, config, disks };
}

/** Returns the domain's info. Refuses a domain that is gone, dying or shut down. */
export async function requireAlive(xen: LibxlSession, domid: number): Promise<DomainInfo> {
  const info = await xen.domainInfo(domid);
  if (!info) throw new LibvirtError('NO_DOMAIN', `no domain with matching id '${domid}'`);
  if (!info.dying && !info.shutdown) return info;
  const state = info.dying ? 'dying' : `shut down (${info.shutdown_reason ?? 'unknown'})`;
  throw new LibvirtError('OPERATION_INVALID', `Domain '${domid}' cannot be snapshotted: it is ${state}`);
}

/** The parts of a domain that decide whether its memory can be saved. */
export interface MemoryFacts {
  readonly toolstack: Toolstack;
  readonly xen: LibxlSession;
  readonly domid: number;
  readonly info: DomainInfo;
  readonly config: ConfigFacts;
  readonly live: boolean;
}

/** Refuses a domain whose memory libxl cannot save. */
export async function requireMemorySavable(facts: MemoryFacts): Promise<void> {
  const { toolstack, xen, domid, info, config, live } = facts;
  if (info.paused) {
    const text = `Domain '${domid}' has to be running because libxenlight will suspend it`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  const [pci] = config.pcidevs ?? [];
  if (pci) {
    const text = `the memory of domain '${domid}' cannot be saved while it has PCI device ${pciAddress(pci)}: detach it first`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  if (config.b_info?.vnuma_nodes?.length) {
    const text = `the memory of domain '${domid}' cannot be saved: libxl does not save domains with virtual NUMA nodes`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  if (live && info.domain_type === 'pv' && !(await xen.physinfo()).cap_shadow) {
    const text = `a live save of PV domain '${domid}' needs shadow paging, which this Xen is built without: save it without the live flag`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  if (await lacksSuspend(toolstack, domid)) {
    const text = `the guest of domain '${domid}' does not support suspend (its control/feature-* keys do not list it)`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
}

/**
 * True for a guest that lists its features (docs/misc/xenstore-paths of Xen) without suspend. One that lists none may
 * be an old Linux, or an HVM guest without PV drivers, which Xen suspends without its help.
 */
export async function lacksSuspend({ readXenstore }: Toolstack, domid: number): Promise<boolean> {
  const path = `/local/domain/${domid}`;
  const isSet = async (key: string) => ((await readXenstore(`${path}/${key}`)) ?? '') !== '';
  if ((await isSet('control/feature-suspend')) || (await isSet('device/suspend/event-channel'))) return false;
  return (await isSet('control/feature-poweroff')) || (await isSet('control/feature-reboot'));
}

/** The caller knows the images of the disks; libxl knows which domains run their backends. */
export function disksOf(
  { disks: known = [] }: ConfigFacts,
  { disks = [] }: LibxlDomainSnapshotArgs,
): readonly LibxlDiskSnapshot[] {
  return disks.map((snapshot) => {
    const { backend_domid, backend_domname, script } = known.find(({ vdev }) => vdev === snapshot.disk.vdev) ?? {};
    const where = {
      ...(backend_domid && { backend_domid }),
      ...(backend_domname && { backend_domname }),
      ...(script && { script }),
    };
    return { ...snapshot, disk: { ...snapshot.disk, ...where } };
  });
}

/** Formats an address as libxl does: `0000:00:1f.2`. */
export function pciAddress({ domain = 0, bus = 0, dev = 0, func = 0 }: PciAddress): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(dev, 2)}.${func}`;
}
