/** Addresses of devices on their buses (virDomainDeviceInfoCheckABIStability), compared for every device. */

import { childAt, type XmlElement } from '../../model/element.ts';
import { busOf, diskIndex, targetOf } from '../domain/disks.ts';
import { at, type Fact, type Read } from './read.ts';

/** Buses on which libvirt derives a disk's address from the index of its name: `channels` of `units` each. */
const DRIVES: Readonly<Record<string, { readonly channels: number; readonly units: number }>> = {
  fdc: { channels: 1, units: 2 },
  ide: { channels: 2, units: 2 },
  sata: { channels: 1, units: 6 },
  scsi: { channels: 1, units: 7 },
};

/** Returns the address with its type: the given one, or the one that libvirt derives. */
function addressOf(device: XmlElement): Readonly<Record<string, string>> {
  const given = childAt(device, 'address')?.attributes;
  // The first console is an alias of the first serial port.
  if (device.name === 'console' && at('target/@type')(device) === 'serial') return {};
  if (given || !['disk', 'smartcard'].includes(device.name)) return given ?? {};
  if (device.name === 'smartcard') return { type: 'ccid' };
  const drive = DRIVES[busOf(device)];
  const index = diskIndex(targetOf(device));
  if (!drive || index < 0) return {};
  const [channel, unit] = [Math.floor(index / drive.units), index % drive.units];
  return {
    type: 'drive',
    controller: String(Math.floor(channel / drive.channels)),
    bus: String(channel % drive.channels),
    unit: String(unit),
  };
}

/** Compares the parts of addresses of one type; a missing part is `0`. */
const parts =
  (type: string, format: (part: (name: string) => bigint) => string): Read =>
  (device) => {
    const address = addressOf(device);
    return address.type === type ? format((name) => numberOf(address[name])) : undefined;
  };

function numberOf(text = '0'): bigint {
  return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : 0n;
}

const hex = (value: bigint, digits: number): string => value.toString(16).padStart(digits, '0');

const pci = parts(
  'pci',
  (part) => `${hex(part('domain'), 4)}:${hex(part('bus'), 2)}:${hex(part('slot'), 2)}.${part('function')}`,
);

const joined = (type: string, ...names: readonly string[]): Read => parts(type, (part) => names.map(part).join(':'));

/** The address of a device. */
export const ADDRESS: readonly Fact[] = [
  ['Target device address type %t does not match source %s', (device) => addressOf(device).type],
  ['Target device PCI address %tdoes not match source %s', pci],
  ['Target device drive address %t does not match source %s', joined('drive', 'controller', 'bus', 'unit')],
  [
    'Target device virtio serial address %t does not match source %s',
    joined('virtio-serial', 'controller', 'bus', 'port'),
  ],
  ['Target device ccid address %t does not match source %s', joined('ccid', 'controller', 'slot')],
  ['Target device isa address %t does not match source %s', joined('isa', 'iobase', 'irq')],
  ['Target device dimm slot %t does not match source %s', joined('dimm', 'slot')],
  ["Target device dimm base address '%t' does not match source '%s'", parts('dimm', (part) => hex(part('base'), 1))],
  ["Target ACPI index '%t' does not match source '%s'", at('acpi/@index', '0')],
];
