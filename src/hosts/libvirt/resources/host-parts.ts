/**
 * Whether the host has what libvirt starts a domain with, besides files and memory. Asked before a domain ends for it: a
 * bridge may have been renamed, and a network stopped, while the domain that used it ran on.
 */

import { constants } from 'node:fs';
import { access, readdir, readFile, readlink } from 'node:fs/promises';
import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { isLibvirtError, LibvirtError } from '../../../errors.ts';
import { statIfThere } from '../../../files/answering.ts';
import type { DomainDefinition } from '../../../model/domain.ts';
import { childAt, childElements, textAt } from '../../../model/element.ts';
import { shellCommand } from '../../../model/messages/shell-command.ts';
import { type HostPart, hostParts, type UsbNumbers } from '../../../xml/domain/host-parts.ts';
import { parseXml } from '../../../xml/engine/parse.ts';
import type { Upstream } from '../upstream.ts';

/** Where the host shows its devices, and where Xen has its scripts. */
export interface HostFolders {
  readonly sysfs: string;
  readonly scripts: string;
}

const FOLDERS: HostFolders = { sysfs: '/sys', scripts: '/etc/xen/scripts' };

type Asked = Pick<Upstream, 'getCapabilities' | 'networkLookupByName' | 'networkIsActive'>;

/** Refuses (55, with the way out) a definition of which the host lacks something. Accepts what nobody can say. Reads only. */
export async function checkHostParts(
  upstream: Asked,
  definition: DomainDefinition,
  folders: HostFolders = FOLDERS,
): Promise<void> {
  for (const part of hostParts(definition)) {
    const missing = await missingOf(upstream, part, folders);
    if (missing === undefined) continue;
    throw new LibvirtError('OPERATION_INVALID', missing);
  }
}

async function missingOf(
  upstream: Asked,
  part: HostPart,
  { sysfs, scripts }: HostFolders,
): Promise<string | undefined> {
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
    case 'pci':
      return await missingPci(part, join(sysfs, 'bus/pci/devices'));
    case 'usb':
      return await missingUsb(part.wanted, join(sysfs, 'bus/usb/devices'));
    case 'address':
      return await missingAddress(part);
    case 'script':
      return await missingScript(part, scripts);
  }
}

/** Drivers of devices that are a guest's, or wait for one. */
const STUBS: ReadonlySet<string> = new Set(['pciback', 'xen-pciback', 'vfio-pci', 'pci-stub']);

async function missingPci(
  { address, managed }: HostPart & { readonly kind: 'pci' },
  devices: string,
): Promise<string | undefined> {
  const device = join(devices, address);
  if (!(await statIfThere(device))) {
    return `the host has no PCI device '${address}', which the domain would be started with`;
  }
  const driver = basename(await readlink(join(device, 'driver')).catch(() => ''));
  if (managed || driver === '' || STUBS.has(driver)) return undefined;
  const node = `pci_${address.replaceAll(/[:.]/g, '_')}`;
  return `PCI device '${address}', which the domain would be started with, is in use by the host's driver '${driver}'; to detach it: ${shellCommand('virsh', 'nodedev-detach', node)}`;
}

/** Numbers that sysfs has in hexadecimal; the others are decimal. */
const HEX: ReadonlySet<string> = new Set(['idVendor', 'idProduct']);

/** libvirt refuses several of a kind, too. */
async function missingUsb(wanted: UsbNumbers, devices: string): Promise<string | undefined> {
  const all = await readdir(devices).catch(() => undefined);
  if (all === undefined) return undefined;
  const found: string[] = [];
  for (const name of all) {
    const numbers = Object.entries(wanted).map(async ([attribute, number]) => {
      const text = await readFile(join(devices, name, attribute), 'utf8').catch(() => '');
      return Number.parseInt(text, HEX.has(attribute) ? 16 : 10) === number;
    });
    if ((await Promise.all(numbers)).every(Boolean)) found.push(name);
  }
  if (found.length === 1) return undefined;
  const words = Object.entries(wanted).map(([name, number]) =>
    HEX.has(name) ? `${name} 0x${number.toString(16).padStart(4, '0')}` : `${name} ${number}`,
  );
  const device = `USB device with ${words.join(', ')}`;
  return found.length === 0
    ? `the host has no ${device}, which the domain would be started with; those that it has: lsusb`
    : `the host has more than one ${device}, which the domain would be started with: its definition needs <address bus= device=>`;
}

const ANY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

async function missingAddress({ address, user }: HostPart & { readonly kind: 'address' }): Promise<string | undefined> {
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  const own = new BlockList();
  own.addSubnet('127.0.0.0', 8);
  own.addAddress('::1', 'ipv6');
  for (const each of Object.values(networkInterfaces()).flatMap((addresses = []) => addresses)) {
    own.addAddress(each.address, each.family === 'IPv6' ? 'ipv6' : 'ipv4');
  }
  if (ANY_ADDRESS.has(address) || own.check(address, family)) return undefined;
  const others = await readFile(`/proc/sys/net/${family}/ip_nonlocal_bind`, 'utf8').catch(() => '');
  if (others.trim() === '1') return undefined;
  return `the host has no address '${address}', on which ${user} of the domain would listen; those that it has: ip address`;
}

async function missingScript(
  { path, user }: HostPart & { readonly kind: 'script' },
  scripts: string,
): Promise<string | undefined> {
  if (!isAbsolute(path) && !(await statIfThere(scripts))) return undefined;
  const script = resolve(scripts, path);
  const isProgram =
    (await statIfThere(script))?.isFile() &&
    (await access(script, constants.X_OK).then(
      () => true,
      () => false,
    ));
  return isProgram
    ? undefined
    : `the host has no program '${script}', by which ${user} of the domain would be connected`;
}

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
