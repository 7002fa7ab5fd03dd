/**
 * What of a definition its guest sees, and what libvirt says where that differs (virDomainDefCheckABIStability): as far
 * as a guest of Xen can have it. Within each table the order is libvirt's.
 */

import { childAt, textAt, type XmlElement } from '../model/element.ts';
import { domainMemoryKib, domainUuid } from './domain.ts';
import { busOf, isReadonly } from './domain-disks.ts';
import { scaledValue } from './values.ts';

/** A value to compare, as libvirt prints it. */
type Read = (element: XmlElement) => string | undefined;

/** One thing that must be the same; in libvirt's sentence `%s` stands for the target's value, then the source's. */
export type Fact = readonly [sentence: string, read: Read];

/** Path of names below the element; the last one may be `@attribute`. `missing` is what libvirt prints for no value. */
function at(path: string, missing?: string): Read {
  const names = path.split('/');
  const attribute = names.at(-1)?.startsWith('@') ? names.pop()?.slice(1) : undefined;
  return (element) => {
    const value =
      attribute === undefined ? textAt(element, ...names) : childAt(element, ...names)?.attributes[attribute];
    return value ?? missing;
  };
}

const isThere =
  (...path: readonly string[]): Read =>
  (element) =>
    String(childAt(element, ...path) !== undefined);

const kib =
  (name: string, missing: Read): Read =>
  (domain) => {
    const unit = childAt(domain, name)?.attributes.unit ?? '';
    const bytes = scaledValue(textAt(domain, name) ?? '', unit, 1024n, `./${name}[1]`);
    return bytes === undefined ? missing(domain) : String((bytes + 1023n) / 1024n);
  };

const memory: Read = (domain) => String(domainMemoryKib(domain));
const vcpus = at('vcpu', '1');
/** The vCPUs a guest starts with. */
export const vcpusOnline: Read = (domain) => at('vcpu/@current')(domain) ?? vcpus(domain);

export const MACHINE: readonly Fact[] = [
  ['Target domain virt type %s does not match source %s', at('@type')],
  ['Target domain uuid %s does not match source %s', domainUuid],
  ['Target domain requested genid does not match source', isThere('genid')],
  ['Target domain genid %s does not match source %s', at('genid')],
  ["Target domain name '%s' does not match source '%s'", at('name')],
  ['Target domain max memory %s does not match source %s', memory],
  ['Target domain current memory %s does not match source %s', kib('currentMemory', memory)],
  ["Target maximum memory size '%s' doesn't match source '%s'", kib('maxMemory', () => '0')],
  ["Target domain memory slots count '%s' doesn't match source '%s'", at('maxMemory/@slots', '0')],
  ['Target domain vCPU max %s does not match source %s', vcpus],
];

/** In a definition for Xen, `linux` is how libvirt has always written `xen`. */
const osType: Read = (domain) => {
  const type = textAt(domain, 'os', 'type');
  return type === 'linux' && domain.attributes.type === 'xen' ? 'xen' : type;
};

export const SYSTEM: readonly Fact[] = [
  ['Target domain OS type %s does not match source %s', osType],
  ['Target domain architecture %s does not match source %s', at('os/type/@arch')],
  ['Target domain machine type %s does not match source %s', at('os/type/@machine', '(null)')],
  ['Target domain SMBIOS mode %s does not match source %s', at('os/smbios/@mode', 'none')],
];

/** virDomainFeature, those a definition can hold as a mere state, in libvirt's order. */
export const FEATURES = 'acpi apic pae hap viridian privnet hyperv kvm pvspinlock pmu vmport smm vmcoreinfo xen'.split(
  ' ',
);
export const XEN_FEATURES = ['e820_host', 'passthrough'];

export const CPU: readonly Fact[] = [
  ['Target CPU does not match source', isThere('cpu')],
  ['Target CPU mode %s does not match source %s', at('cpu/@mode', 'custom')],
  ['Target CPU check %s does not match source %s', at('cpu/@check')],
  ['Target CPU model %s does not match source %s', at('cpu/model', '<null>')],
  ['Target CPU vendor %s does not match source %s', at('cpu/vendor', '<null>')],
  ['Target CPU sockets %s does not match source %s', at('cpu/topology/@sockets', '0')],
  ['Target CPU cores %s does not match source %s', at('cpu/topology/@cores', '0')],
  ['Target CPU threads %s does not match source %s', at('cpu/topology/@threads', '0')],
];

export interface DeviceKind {
  readonly name: string;
  /** What libvirt calls its number. */
  readonly count: string;
  readonly facts: readonly Fact[];
  /** libvirt adds such a device by itself: a definition without any says nothing about it. */
  readonly implied?: true;
}

/** Kinds of devices. */
export const DEVICES: readonly DeviceKind[] = [
  {
    name: 'disk',
    count: 'disk count %s',
    facts: [
      ['Target disk device %s does not match source %s', at('@device', 'disk')],
      ['Target disk bus %s does not match source %s', busOf],
      ['Target disk %s does not match source %s', at('target/@dev')],
      ['Target disk serial %s does not match source %s', at('serial', '<null>')],
      ["Target disk wwn '%s' does not match source '%s'", at('wwn', '<null>')],
      ['Target disk access mode does not match source', (disk) => String(isReadonly(disk))],
    ],
  },
  {
    name: 'controller',
    count: 'controller count %s',
    implied: true,
    facts: [
      ['Target controller type %s does not match source %s', at('@type')],
      ['Target controller index %s does not match source %s', at('@index')],
      ['Target controller ports %s does not match source %s', at('@ports', '-1')],
    ],
  },
  {
    name: 'filesystem',
    count: 'filesystem count %s',
    facts: [['Target filesystem guest target %s does not match source %s', at('target/@dir')]],
  },
  {
    name: 'interface',
    count: 'net card count %s',
    facts: [
      ['Target network card mac %s does not match source %s', at('mac/@address')],
      ['Target network card model %s does not match source %s', at('model/@type', 'unknown')],
      ['Target network card MTU %s does not match source %s', at('mtu/@size', '0')],
    ],
  },
  {
    name: 'input',
    count: 'input device count %s',
    implied: true,
    facts: [
      ['Target input device type %s does not match source %s', at('@type')],
      ['Target input device bus %s does not match source %s', at('@bus')],
    ],
  },
  {
    name: 'sound',
    count: 'sound card count %s',
    facts: [['Target sound card model %s does not match source %s', at('@model')]],
  },
  {
    name: 'video',
    count: 'video card count %s',
    implied: true,
    facts: [
      ['Target video card model %s does not match source %s', at('model/@type')],
      ['Target video card vram %s does not match source %s', at('model/@vram')],
      ['Target video card heads %s does not match source %s', at('model/@heads')],
    ],
  },
  {
    name: 'hostdev',
    count: 'host device count %s',
    facts: [
      ['Target host device mode %s does not match source %s', at('@mode')],
      ['Target host device subsystem %s does not match source %s', at('@type')],
    ],
  },
  {
    name: 'serial',
    count: 'serial port count %s',
    implied: true,
    facts: [['Target serial port %s does not match source %s', at('target/@port', '0')]],
  },
  {
    name: 'parallel',
    count: 'parallel port count %s',
    facts: [['Target parallel port %s does not match source %s', at('target/@port', '0')]],
  },
  {
    name: 'channel',
    count: 'channel count %s',
    facts: [
      ['Target channel type %s does not match source %s', at('target/@type')],
      ['Target channel name %s does not match source %s', at('target/@name', '<null>')],
    ],
  },
  {
    name: 'console',
    count: 'console count %s',
    implied: true,
    facts: [['Target console type %s does not match source %s', at('target/@type')]],
  },
  { name: 'redirdev', count: 'redirected devices count %s', facts: [] },
  {
    name: 'watchdog',
    count: 'watchdog count %s',
    facts: [['Target watchdog model %s does not match source %s', at('@model')]],
  },
  {
    name: 'memballoon',
    count: 'memory balloon count %s',
    implied: true,
    facts: [['Target balloon model %s does not match source %s', at('@model')]],
  },
  { name: 'rng', count: 'RNG device count %s', facts: [] },
  { name: 'panic', count: 'panic device count %s', facts: [] },
  { name: 'shmem', count: 'shared memory device count %s', facts: [] },
  {
    name: 'tpm',
    count: 'TPM device count %s',
    facts: [["Target TPM device model doesn't match source", at('@model')]],
  },
];

/** Of every device. libvirt gives drives their addresses by itself: those may be missing. */
export const ADDRESS: readonly Fact[] = [
  ['Target device address type %s does not match source %s', (device) => kindOfAddress(device) ?? 'none'],
];

function kindOfAddress(device: XmlElement): string | undefined {
  const type = childAt(device, 'address')?.attributes.type;
  return type === 'drive' ? undefined : type;
}

/** `<clock>`'s timers, one by one. */
export const TIMERS: readonly Fact[] = [
  ['Target timer %s does not match source %s', at('@name')],
  ["Target timer presence '%s' does not match source '%s'", at('@present')],
  ['Target TSC frequency %s does not match source %s', at('@frequency', '0')],
  ['Target TSC mode %s does not match source %s', at('@mode')],
];
