/**
 * The properties of the machine that a guest sees, and libvirt's messages if they differ
 * (virDomainDefCheckABIStabilityFlags). Devices are in devices.ts. Each table is in libvirt's order.
 */

import { childAt, childElements, textAt, textOf } from '../../model/element.ts';
import { domainMemoryKib, domainUuid } from '../domain/domain.ts';
import { numaFacts, vcpuFacts } from './cpus.ts';
import { at, type Check, type Fact, type Group, isThere, kib, members, type Read } from './read.ts';

const memory: Read = (domain) => String(domainMemoryKib(domain));

/** Memory without that of `<memory>` devices, which the definition's `<memory>` includes. */
const initialMemory: Read = (domain) => {
  const added = members('devices', 'memory')(domain).map((device) => Number(kib('target/size')(device)));
  return String(added.reduce((rest, size) => rest - size, domainMemoryKib(domain)));
};

/** The only fact of a running guest that changes by itself (VIR_DOMAIN_DEF_ABI_CHECK_SKIP_VOLATILE). */
export const BALLOON: Fact = ['Target domain current memory %t does not match source %s', kib('currentMemory', memory)];

const MACHINE: readonly Check[] = [
  ['Target domain virt type %t does not match source %s', at('@type')],
  ['Target domain uuid %t does not match source %s', domainUuid],
  ['Target domain requested genid does not match source', isThere('genid')],
  ['Target domain genid %t does not match source %s', at('genid')],
  ["Target domain name '%t' does not match source '%s'", at('name')],
  ['Target domain max memory %t does not match source %s', initialMemory],
  BALLOON,
  ["Target maximum memory size '%t' doesn't match source '%s'", kib('maxMemory')],
  ["Target domain memory slots count '%t' doesn't match source '%s'", at('maxMemory/@slots', '0')],
  numaFacts,
  ['Target domain vCPU max %t does not match source %s', at('vcpu', '1')],
  vcpuFacts,
];

/** In a definition for Xen, `linux` is how libvirt has always written `xen`. */
const osType: Read = (domain) => {
  const type = textAt(domain, 'os', 'type');
  return type === 'linux' && domain.attributes.type === 'xen' ? 'xen' : type;
};

const SYSTEM: readonly Check[] = [
  ['Target domain OS type %t does not match source %s', osType],
  ['Target domain architecture %t does not match source %s', at('os/type/@arch')],
  ['Target domain machine type %t does not match source %s', at('os/type/@machine', '(null)')],
  ['Target domain SMBIOS mode %t does not match source %s', at('os/smbios/@mode', 'none')],
];

/** A switch as libvirt keeps it: on if the element exists without a `state`. */
const stateOf =
  (...path: readonly string[]): Read =>
  (domain) => {
    const feature = childAt(domain, 'features', ...path);
    return feature ? (feature.attributes.state ?? 'on') : 'default';
  };

const feature = (name: string, read: Read = stateOf(name)): Fact => [
  `State of feature '${name}' differs: source: '%s', destination: '%t'`,
  read,
];

/** A feature that has more than its state: `on,version=2`. */
const detailed = (name: string, ...details: readonly (readonly [detail: string, read: Read])[]): Fact =>
  feature(name, (domain) =>
    [stateOf(name)(domain), ...details.map(([detail, read]) => `${detail}=${read(domain)}`)].join(','),
  );

/** A feature that has a value in place of a state. */
const valued = (name: string, detail: string, missing = 'none'): Fact =>
  feature(name, (domain) => `${detail}=${at(`features/${name}/@${detail}`, missing)(domain)}`);

/**
 * libvirt prints the mode's number with its words for switches: 1 is `custom` and prints as on, 2 is `passthrough` and
 * prints as off.
 */
const hyperv: Read = (domain) =>
  at('features/hyperv/@mode')(domain) === 'passthrough' ? 'off' : stateOf('hyperv')(domain);

/** Features within a feature. */
const within = (feature: string, called: string, ...names: readonly string[]): readonly Fact[] =>
  names.map((name) => [
    `State of ${called} '${name}' differs: source: '%s', destination: '%t'`,
    stateOf(feature, name),
  ]);

const ENLIGHTENMENT = 'HyperV enlightenment feature';

/** virDomainFeature, then what is within them. */
const FEATURES: readonly Check[] = [
  feature('acpi'),
  detailed('apic', ['eoi', at('features/apic/@eoi', 'default')]),
  ...['pae', 'hap', 'viridian', 'privnet'].map((name) => feature(name)),
  feature('hyperv', hyperv),
  ...['kvm', 'pvspinlock'].map((name) => feature(name)),
  valued('capabilities', 'policy', 'default'),
  ...['pmu', 'vmport'].map((name) => feature(name)),
  detailed('gic', ['version', at('features/gic/@version', 'none')]),
  feature('smm'),
  valued('ioapic', 'driver'),
  detailed('hpt', ['resizing', at('features/hpt/@resizing', 'none')], ['maxpagesize', kib('features/hpt/maxpagesize')]),
  ...['vmcoreinfo', 'htm', 'nested-hv', 'ccf-assist', 'xen'].map((name) => feature(name)),
  ...['cfpc', 'sbbc', 'ibs'].map((name) => valued(name, 'value')),
  ...within('hyperv', ENLIGHTENMENT, 'relaxed', 'vapic'),
  [
    "HyperV spinlock retry count differs: source: '%s', destination: '%t'",
    at('features/hyperv/spinlocks/@retries', '0'),
  ],
  ...within('hyperv', ENLIGHTENMENT, 'vpindex', 'runtime', 'synic', 'stimer', 'reset'),
  ["HyperV vendor_id differs: source: '%s', destination: '%t'", at('features/hyperv/vendor_id/@value', '(null)')],
  ...within('hyperv', ENLIGHTENMENT, 'frequencies', 'reenlightenment', 'tlbflush', 'ipi', 'evmcs', 'avic'),
  [
    "State of HyperV stimer direct feature differs: source: '%s', destination: '%t'",
    stateOf('hyperv', 'stimer', 'direct'),
  ],
  ...within('xen', 'Xen feature', 'e820_host', 'passthrough'),
  [
    "'mode' of Xen passthrough feature differs: source: '%s', destination: '%t'",
    at('features/xen/passthrough/@mode', 'default'),
  ],
  ...within('kvm', 'KVM feature', 'hidden', 'hint-dedicated', 'poll-control', 'pv-ipi', 'dirty-ring'),
  [
    "dirty ring size of KVM feature 'dirty-ring' differs: source: '%s', destination: '%t'",
    at('features/kvm/dirty-ring/@size', '0'),
  ],
  [
    "SMM TSEG differs: source: %s, destination: '%t'",
    (domain) => (childAt(domain, 'features', 'smm', 'tseg') ? 'specified' : 'not specified'),
  ],
  [
    "Size of SMM TSEG size differs: source: '%s', destination: '%t'",
    (domain) => pretty(kib('features/smm/tseg')(domain)),
  ],
];

/** virFormatIntPretty: returns the size in the largest unit that leaves a whole number. */
function pretty(inKib = '0'): string {
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let size = BigInt(inKib);
  while (size > 0n && size % 1024n === 0n && units.length > 1) {
    size /= 1024n;
    units.shift();
  }
  return `${size} ${units[0]}`;
}

const TIMERS: Group = {
  members: members('clock', 'timer'),
  count: 'Target domain timers do not match source',
  facts: [
    ['Target timer %t does not match source %s', at('@name')],
    ["Target timer presence '%t' does not match source '%s'", at('@present', 'default')],
    ['Target TSC frequency %t does not match source %s', at('@frequency', '0')],
    ['Target TSC mode %t does not match source %s', at('@mode', 'none')],
  ],
};

/** A topology without dies has one in each socket; no topology has none of anything. */
const dies: Read = (domain) => at('cpu/topology/@dies', childAt(domain, 'cpu', 'topology') ? '1' : '0')(domain);

/** Attributes that libvirt compares together: its message names none of them. */
const all =
  (path: string, ...names: readonly string[]): Read =>
  (domain) =>
    names.map((name) => at(`${path}/@${name}`, '')(domain)).join();

/** virCPUDefIsEqual. */
const CPU: readonly Check[] = [
  ['Target CPU does not match source', isThere('cpu')],
  ['Target CPU mode %t does not match source %s', at('cpu/@mode', 'custom')],
  ['Target CPU check %t does not match source %s', at('cpu/@check', 'default')],
  ['Target CPU model %t does not match source %s', at('cpu/model', '<null>')],
  ['Target CPU vendor %t does not match source %s', at('cpu/vendor', '<null>')],
  ['Target CPU vendor id %t does not match source %s', at('cpu/model/@vendor_id', '<null>')],
  ['Target CPU sockets %t does not match source %s', at('cpu/topology/@sockets', '0')],
  ['Target CPU dies %t does not match source %s', dies],
  ['Target CPU cores %t does not match source %s', at('cpu/topology/@cores', '0')],
  ['Target CPU threads %t does not match source %s', at('cpu/topology/@threads', '0')],
  ['Target CPU maxphysaddr does not match source', all('cpu/maxphysaddr', 'mode', 'bits')],
  {
    members: members('cpu', 'feature'),
    count: 'Target CPU feature count %t does not match source %s',
    facts: [
      ['Target CPU feature %t does not match source %s', at('@name')],
      ['Target CPU feature policy %t does not match source %s', at('@policy', 'require')],
    ],
  },
  ['Target CPU cache does not match source', all('cpu/cache', 'level', 'mode')],
];

/** The `<entry>` named `name` of every section named `section`. */
const entry =
  (section: string, name: string): Read =>
  (sysinfo) =>
    childElements(sysinfo, section)
      .map((found) => childElements(found, 'entry').find(({ attributes }) => attributes.name === name))
      .map((found) => (found && textOf(found)) || '<null>')
      .join();

const entries = (section: string, called: string, ...names: readonly string[]): readonly Fact[] =>
  names.map((name) => [
    `Target sysinfo ${called} ${name === 'manufacturer' ? 'vendor' : name} %t does not match source %s`,
    entry(section, name),
  ]);

/** virSysinfoIsEqual. */
const SYSINFO: Group = {
  members: members('sysinfo'),
  count: 'Target domain count of sysinfo does not match source',
  facts: [
    ['Target sysinfo %t does not match source %s', at('@type')],
    ['Target sysinfo does not match source', isThere('bios')],
    ...entries('bios', 'BIOS', 'vendor', 'version', 'date', 'release'),
    ['Target sysinfo does not match source', isThere('system')],
    ...entries('system', 'system', 'manufacturer', 'product', 'version', 'serial', 'uuid', 'sku', 'family'),
    [
      "Target sysinfo base board count '%t' does not match source '%s'",
      (sysinfo) => String(childElements(sysinfo, 'baseBoard').length),
    ],
    ...entries('baseBoard', 'base board', 'manufacturer', 'product', 'version', 'serial', 'asset', 'location'),
    ['Target chassis does not match source', isThere('chassis')],
    ...entries('chassis', 'chassis', 'manufacturer', 'version', 'serial', 'asset', 'sku'),
  ],
};

/** Everything of the machine except its devices. */
export const GUEST: readonly Check[] = [...MACHINE, ...SYSTEM, ...FEATURES, TIMERS, ...CPU, SYSINFO];
