/**
 * Whether a Xen host has the memory for a start. Asked before a domain ends for it: a guest may have been given more
 * memory in its snapshot than it has now, and another one may have taken the rest since.
 */

import { readFile } from 'node:fs/promises';
import { LibvirtError } from '../errors.ts';
import type { DomainMemory, HostMemory } from '../libxl/host-memory.ts';
import type { DomainDefinition, DomainRef } from '../model/domain.ts';
import { textAt, type XmlElement } from '../model/element.ts';
import { domainCommand } from '../model/messages/shell-command.ts';
import { currentMemoryKib, domainMemoryKib } from '../xml/domain/domain.ts';

/** libvirt's settings for its Xen driver; xl's own file has the same key. */
const LIBXL_CONF = '/etc/libvirt/libxl.conf';
const DOMAIN_0 = 0;
/** libxl does not ask Domain-0 to have less (LIBXL_MIN_DOM0_MEM). */
const MIN_DOM0_KIB = 128 * 1024;
/** What libxl adds for Xen's own tables (LIBXL_HVM_EXTRA_MEMORY, LIBXL_PV_EXTRA_MEMORY). */
const EXTRA_KIB = { hvm: 2048, pv: 1024 } as const;
const MIB = 1024;

/** A start that is asked for. */
export interface WantedMemory {
  readonly definition: DomainDefinition;
  /** Size of the memory image, if the guest is restored from one: it has no more pages than were saved. */
  readonly imageBytes?: number;
  /** The definition of the domain as it runs now, if it does: it ends first. */
  readonly live?: DomainDefinition;
}

/**
 * Refuses (55, with the numbers and the way out) a start that libxl would refuse for want of memory. Accepts if what the
 * domain has now is not known.
 */
export async function checkHostMemory(
  host: HostMemory,
  ref: DomainRef,
  { definition, imageBytes = Number.POSITIVE_INFINITY, live }: WantedMemory,
  conf = LIBXL_CONF,
): Promise<void> {
  const now = host.domains.find(({ id }) => id === ref.id);
  if (live && !now) return;
  const ramKib = Math.min(currentMemoryKib(definition.element), imageBytes / 1024);
  const needed = startKib(definition.element, ramKib);
  const own = live && now ? startKib(live.element, now.kib) : 0;
  const dom0 = host.domains.find(({ id }) => id === DOMAIN_0);
  const fromDom0 = dom0 && (await balloonsDom0(host, conf)) ? Math.max(dom0.kib - MIN_DOM0_KIB, 0) : 0;
  const missing = needed - own - host.freeKib - fromDom0;
  if (missing <= 0) return;
  const parts = [
    ...(own > 0 ? [`${inMib(own)} that it has now`] : []),
    `${inMib(host.freeKib)} free`,
    ...(fromDom0 > 0 ? [`${inMib(fromDom0)} that Domain-0 can give`] : []),
  ];
  const others = host.domains.filter(({ id }) => id !== ref.id);
  throw new LibvirtError(
    'OPERATION_INVALID',
    `the host has too little memory for domain '${ref.name}': ${Math.ceil(needed / MIB)} MiB are needed, and there are ` +
      `${parts.join(', ')}${wayOut(others, missing)}`,
  );
}

/** As libxl_domain_need_memory: RAM, the tables of guests that Xen translates addresses for, and a reserve. */
function startKib(domain: XmlElement, ramKib: number): number {
  if (isParavirtual(domain)) return ramKib + EXTRA_KIB.pv;
  const vcpus = Number(textAt(domain, 'vcpu') ?? 1);
  // libxl_get_required_shadow_memory: 1 MiB for each vCPU, two pages for each MiB.
  const tablesKib = 4 * (256 * vcpus + 2 * (domainMemoryKib(domain) / MIB));
  return ramKib + tablesKib + EXTRA_KIB.hvm;
}

/** libvirt writes `linux` for what it also reads as `xen`. */
function isParavirtual(domain: XmlElement): boolean {
  return ['linux', 'xen'].includes(textAt(domain, 'os', 'type') ?? '');
}

/**
 * True if missing memory is taken from Domain-0: as the configuration says, else unless Xen was booted with a fixed size for
 * it (libxl.conf and xl.conf describe this). True if that is not known.
 */
async function balloonsDom0({ xenCommandLine = '' }: HostMemory, conf: string): Promise<boolean> {
  const text = await readFile(conf, 'utf8').catch(() => '');
  const setting = [...text.matchAll(/^[ \t]*autoballoon\s*=\s*["']?(\d|on|off)/gm)].at(-1)?.[1];
  if (setting !== undefined) return setting !== '0' && setting !== 'off';
  return !/(?:^| )dom0_mem=(?:(?:min:|max:)?\d+[bkmg]?,?)+(?: |$)/i.test(xenCommandLine);
}

/** The other domain with the most memory gives what is missing, if that leaves it half of what it has. */
function wayOut(others: readonly DomainMemory[], missing: number): string {
  const [largest, ...rest] = others.toSorted((a, b) => b.kib - a.kib);
  const left = largest ? Math.floor((largest.kib - missing) / MIB) * MIB : 0;
  if (largest && left >= largest.kib / 2) {
    const command = { program: 'virsh', command: 'setmem', domain: largest, args: [String(left)] } as const;
    return `; to take some from domain '${largest.name}': ${domainCommand({ ...command, options: ['--live'] })}`;
  }
  const guest = [largest, ...rest].find((domain) => domain && domain.id !== DOMAIN_0);
  if (!guest) return '';
  return `; to end another domain: ${domainCommand({ program: 'virsh', command: 'shutdown', domain: guest })}`;
}

function inMib(kib: number): string {
  return `${Math.floor(kib / MIB)} MiB`;
}
