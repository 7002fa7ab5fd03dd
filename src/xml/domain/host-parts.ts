/** What a domain uses of its host besides files and memory, when it is started from a definition. */

import { isIP } from 'node:net';
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
  | { readonly kind: 'pci'; readonly address: string; readonly managed: boolean }
  /** Numbers as in the attributes of /sys/bus/usb/devices, by the names that they have there. */
  | { readonly kind: 'usb'; readonly wanted: UsbNumbers }
  /** An address of the host's own, on which a server of the guest's will listen. */
  | { readonly kind: 'address'; readonly address: string; readonly user: string }
  /** libxl runs it to connect an interface. A relative name is one in Xen's folder of scripts. */
  | { readonly kind: 'script'; readonly path: string; readonly user: string };

/** A USB device by what it is, by its place, or by both. */
export interface UsbNumbers {
  readonly idVendor?: number;
  readonly idProduct?: number;
  readonly busnum?: number;
  readonly devnum?: number;
}

/** In the order of the definition. Pure: no I/O. */
export function hostParts({ element }: DomainDefinition): readonly HostPart[] {
  const devices = childAt(element, 'devices');
  const osType = textAt(element, 'os', 'type');
  const domainType = element.attributes.type;
  return [
    ...(osType !== undefined && domainType !== undefined ? [{ kind: 'guest', osType, domainType } as const] : []),
    ...(devices ? childElements(devices).flatMap((device) => partsOf(device, domainType === 'xen')) : []),
  ];
}

function partsOf(device: XmlElement, isXen: boolean): readonly HostPart[] {
  if (device.name === 'interface') return interfaceParts(device, isXen);
  if (device.name === 'graphics') return graphicsParts(device);
  const { type, managed } = device.attributes;
  if (device.name !== 'hostdev') return [];
  return type === 'pci' ? pciPart(device, managed) : type === 'usb' ? usbPart(device) : [];
}

function interfaceParts(device: XmlElement, isXen: boolean): readonly HostPart[] {
  // Its bridge is in another domain.
  if (childAt(device, 'backenddomain')) return [];
  const source = childAt(device, 'source')?.attributes ?? {};
  const user = `interface '${childAt(device, 'mac')?.attributes.address ?? ''}'`;
  const { type, managed } = device.attributes;
  if (type === 'hostdev') return pciPart(device, managed);
  if (type === 'network' && source.network !== undefined) return [{ kind: 'network', name: source.network, user }];
  // A script of one's own decides what it needs.
  const script = childAt(device, 'script')?.attributes.path;
  if (script !== undefined) return isXen || script.startsWith('/') ? [{ kind: 'script', path: script, user }] : [];
  if (type !== 'bridge' || source.bridge === undefined) return [];
  const openvswitch = childAt(device, 'virtualport')?.attributes.type === 'openvswitch';
  return [{ kind: 'bridge', name: source.bridge, openvswitch, user }];
}

/** A name of the host instead of an address is not looked up. */
function graphicsParts(device: XmlElement): readonly HostPart[] {
  const user = `graphics '${device.attributes.type ?? ''}'`;
  const listens: readonly XmlElement['attributes'][] = childElements(device, 'listen').map(
    ({ attributes }) => attributes,
  );
  const { listen } = device.attributes;
  const older = listen === undefined ? [] : [{ type: 'address', address: listen }];
  const of: typeof listens = listens.length > 0 ? listens : older;
  return of.flatMap(({ type, address, network }): readonly HostPart[] => {
    if (type === 'network' && network !== undefined) return [{ kind: 'network', name: network, user }];
    return type === 'address' && address !== undefined && isIP(address) !== 0
      ? [{ kind: 'address', address, user }]
      : [];
  });
}

/** Without one that `startupPolicy` allows to be missing, libvirt starts the domain all the same. */
function usbPart(device: XmlElement): readonly HostPart[] {
  const source = childAt(device, 'source');
  const policy = source?.attributes.startupPolicy;
  if (!source || policy === 'optional' || policy === 'requisite') return [];
  const numbers = {
    idVendor: childAt(source, 'vendor')?.attributes.id,
    idProduct: childAt(source, 'product')?.attributes.id,
    busnum: childAt(source, 'address')?.attributes.bus,
    devnum: childAt(source, 'address')?.attributes.device,
  };
  const wanted = Object.entries(numbers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Number(value)]],
  );
  return wanted.length > 0 ? [{ kind: 'usb', wanted: Object.fromEntries(wanted) as UsbNumbers }] : [];
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
