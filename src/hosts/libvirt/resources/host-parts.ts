/**
 * Whether the host has what libvirt starts a domain with, besides files and memory. Asked before a domain ends for it: a
 * bridge may have been renamed, and a network stopped, while the domain that used it ran on.
 */

import { readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { isLibvirtError, LibvirtError } from '../../../errors.ts';
import { statIfThere } from '../../../files/answering.ts';
import type { DomainDefinition } from '../../../model/domain.ts';
import { childAt, childElements, textAt } from '../../../model/element.ts';
import { shellCommand } from '../../../model/messages/shell-command.ts';
import { type HostPart, hostParts } from '../../../xml/domain/host-parts.ts';
import { parseXml } from '../../../xml/engine/parse.ts';
import type { Upstream } from '../upstream.ts';

const SYSFS = '/sys';

type Asked = Pick<Upstream, 'getCapabilities' | 'networkLookupByName' | 'networkIsActive'>;

/** Refuses (55, with the way out) a definition of which the host lacks something. Accepts what nobody can say. Reads only. */
export async function checkHostParts(upstream: Asked, definition: DomainDefinition, sysfs = SYSFS): Promise<void> {
  for (const part of hostParts(definition)) {
    const missing = await missingOf(upstream, part, sysfs);
    if (missing === undefined) continue;
    throw new LibvirtError('OPERATION_INVALID', missing);
  }
}

async function missingOf(upstream: Asked, part: HostPart, sysfs: string): Promise<string | undefined> {
  switch (part.kind) {
    case 'guest':
      return await missingGuest(upstream, part);
    case 'bridge': {
      const { name, openvswitch, user } = part;
      const path = join(sysfs, 'class/net', name, openvswitch ? '' : 'bridge');
      if (await statIfThere(path)) return undefined;
      const command = openvswitch ? ['ovs-vsctl', 'add-br', name] : ['ip', 'link', 'add', name, 'type', 'bridge'];
      return `the host has no bridge '${name}', which ${user} of the domain would be started on; to make one: ${shellCommand(...command)}`;
    }
    case 'network':
      return await missingNetwork(upstream, part);
    case 'pci': {
      const device = join(sysfs, 'bus/pci/devices', part.address);
      if (!(await statIfThere(device))) {
        return `the host has no PCI device '${part.address}', which the domain would be started with`;
      }
      const driver = basename(await readlink(join(device, 'driver')).catch(() => ''));
      if (part.managed || driver === '' || STUBS.has(driver)) return undefined;
      const node = `pci_${part.address.replaceAll(/[:.]/g, '_')}`;
      return `PCI device '${part.address}', which the domain would be started with, is in use by the host's driver '${driver}'; to detach it: ${shellCommand('virsh', 'nodedev-detach', node)}`;
    }
  }
}

/** Drivers of devices that are a guest's, or wait for one. */
const STUBS: ReadonlySet<string> = new Set(['pciback', 'xen-pciback', 'vfio-pci', 'pci-stub']);

/** libvirt writes `linux` for a guest that its capabilities call `xen`. */
async function missingGuest(
  upstream: Asked,
  { osType, domainType }: HostPart & { readonly kind: 'guest' },
): Promise<string | undefined> {
  const text = await upstream.getCapabilities().catch(() => undefined);
  if (text === undefined) return undefined;
  const guests = childElements(parseXml(text, 'capabilities'), 'guest');
  const wanted = osType === 'linux' && domainType === 'xen' ? 'xen' : osType;
  const runs = guests.some((guest) => {
    const arch = childAt(guest, 'arch');
    const types = arch ? childElements(arch, 'domain').map(({ attributes }) => attributes.type) : [];
    return textAt(guest, 'os_type') === wanted && types.includes(domainType);
  });
  return runs || guests.length === 0
    ? undefined
    : `the host runs no guests of type '${osType}' on '${domainType}' now: see virsh capabilities`;
}

async function missingNetwork(
  upstream: Asked,
  { name, user }: HostPart & { readonly kind: 'network' },
): Promise<string | undefined> {
  try {
    const network = await upstream.networkLookupByName(name);
    if (await upstream.networkIsActive(network)) return undefined;
    return `network '${name}' is not active, and ${user} of the domain would be started on it; to start it: ${shellCommand('virsh', 'net-start', name)}`;
  } catch (error) {
    if (!isLibvirtError(error, 'NO_NETWORK')) return undefined;
    return `there is no network '${name}', which ${user} of the domain would be started on; to make one: virsh net-define`;
  }
}
