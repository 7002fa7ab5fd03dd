/** What a domain uses of its host besides files and memory, when it is started from a definition. */

import type { DomainDefinition } from '../../model/domain.ts';
import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';

/** One thing that the host must have. */
export type HostPart =
  /** The kind of guest: as the host's capabilities list them. */
  | { readonly kind: 'guest'; readonly osType: string; readonly domainType: string }
  /** A bridge of the kernel's, or of Open vSwitch. `user`: for messages. */
  | { readonly kind: 'bridge'; readonly name: string; readonly openvswitch: boolean; readonly user: string }
  /** A virtual network of libvirt's, which must be active. */
  | { readonly kind: 'network'; readonly name: string; readonly user: string }
  /** `address`: as in /sys/bus/pci/devices. `managed`: libvirt detaches it from its driver. */
  | { readonly kind: 'pci'; readonly address: string; readonly managed: boolean };

/** In the order of the definition. Pure: no I/O. */
export function hostParts({ element }: DomainDefinition): readonly HostPart[] {
  const devices = childAt(element, 'devices');
  const osType = textAt(element, 'os', 'type');
  const domainType = element.attributes.type;
  return [
    ...(osType !== undefined && domainType !== undefined ? [{ kind: 'guest', osType, domainType } as const] : []),
    ...(devices ? childElements(devices).flatMap(partsOf) : []),
  ];
}

function partsOf(device: XmlElement): readonly HostPart[] {
  if (device.name === 'interface') return interfaceParts(device);
  const { type, managed } = device.attributes;
  return device.name === 'hostdev' && type === 'pci' ? pciPart(device, managed) : [];
}

function interfaceParts(device: XmlElement): readonly HostPart[] {
  // Its bridge is in another domain.
  if (childAt(device, 'backenddomain')) return [];
  const source = childAt(device, 'source')?.attributes ?? {};
  const user = `interface '${childAt(device, 'mac')?.attributes.address ?? ''}'`;
  const { type, managed } = device.attributes;
  if (type === 'hostdev') return pciPart(device, managed);
  if (type === 'network' && source.network !== undefined) return [{ kind: 'network', name: source.network, user }];
  // A script of one's own decides what it needs.
  if (type !== 'bridge' || source.bridge === undefined || childAt(device, 'script')) return [];
  const openvswitch = childAt(device, 'virtualport')?.attributes.type === 'openvswitch';
  return [{ kind: 'bridge', name: source.bridge, openvswitch, user }];
}

function pciPart(device: XmlElement, managed: string | undefined): readonly HostPart[] {
  const found = childAt(device, 'source', 'address')?.attributes;
  if (!found || (found.type !== undefined && found.type !== 'pci')) return [];
  const hex = (value: string | undefined, digits: number) =>
    Number(value ?? 0)
      .toString(16)
      .padStart(digits, '0');
  const { domain, bus, slot } = found;
  const address = `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${hex(found.function, 1)}`;
  return [{ kind: 'pci', address, managed: managed === 'yes' }];
}
