/**
 * Completes a definition that libvirt did not print itself: fills in what libvirt always prints, converts sizes to KiB,
 * sorts the parts into its order (virDomainDefPostParse, virDomainDefFormatInternal). Formatting each device is left to
 * the host that owns the domain.
 */

import { childAt, childElements, element, textAt, type XmlElement, type XmlNode } from '../../model/element.ts';
import { scaledValue } from '../engine/values.ts';
import { domainMemoryKib, domainUuid } from './domain.ts';

/** The children of `<domain>` in libvirt's order; those of other namespaces come last. */
const ORDER: readonly string[] = [
  ...['name', 'uuid', 'genid', 'title', 'description', 'metadata', 'maxMemory', 'memory', 'currentMemory'],
  ...['blkiotune', 'memtune', 'memoryBacking', 'vcpu', 'vcpus', 'iothreads', 'iothreadids', 'defaultiothread'],
  ...['cputune', 'numatune', 'resource', 'sysinfo', 'bootloader', 'bootloader_args', 'os', 'idmap', 'features', 'cpu'],
  ...['clock', 'on_poweroff', 'on_reboot', 'on_crash', 'on_lockfailure', 'pm', 'perf', 'devices', 'seclabel'],
  ...['keywrap', 'launchSecurity'],
];

/** The parts that libvirt prints if a definition leaves them out. */
const DEFAULTS: readonly XmlElement[] = [
  element('vcpu', {}, ['1']),
  element('clock', { offset: 'utc' }),
  element('on_poweroff', {}, ['destroy']),
  element('on_reboot', {}, ['restart']),
  element('on_crash', {}, ['destroy']),
  element('devices'),
];

/** The elements that follow `<boot>` in `<os>`. */
const AFTER_BOOT: readonly string[] = ['bootmenu', 'bios', 'smbios', 'acpi'];

/**
 * Returns the completed definition. One that has everything libvirt always prints was printed by it and is returned
 * unchanged.
 */
export function withDefaults(domain: XmlElement): XmlElement {
  if (isPrintedByLibvirt(domain)) return domain;
  const missing = DEFAULTS.filter(({ name }) => childAt(domain, name) === undefined);
  const memory = element('currentMemory', { unit: 'KiB' }, [String(domainMemoryKib(domain))]);
  const children = [
    ...childElements(domain).map((child) => normalised(child, domain)),
    ...(childAt(domain, 'currentMemory') ? [] : [memory]),
    ...missing.map((child) => normalised(child, domain)),
  ];
  return { ...domain, children: children.toSorted((one, other) => rank(one) - rank(other)) };
}

function isPrintedByLibvirt(domain: XmlElement): boolean {
  const hasUnit = (name: string): boolean => childAt(domain, name)?.attributes.unit === 'KiB';
  return (
    hasUnit('memory') &&
    hasUnit('currentMemory') &&
    childAt(domain, 'vcpu')?.attributes.placement !== undefined &&
    DEFAULTS.every(({ name }) => childAt(domain, name) !== undefined)
  );
}

function rank({ name }: XmlElement): number {
  const place = ORDER.indexOf(name);
  return place === -1 ? ORDER.length : place;
}

function normalised(child: XmlElement, domain: XmlElement): XmlElement {
  switch (child.name) {
    case 'uuid':
      return { ...child, children: [domainUuid(domain) ?? ''] };
    case 'memory':
      return inKib(child, domainMemoryKib(domain));
    case 'currentMemory':
      return inKib(child, currentMemoryKib(domain));
    case 'vcpu':
      return { ...child, attributes: { placement: 'static', ...child.attributes } };
    case 'os':
      return bootsFromDisk(child, domain) ? withBoot(child) : child;
    default:
      return child;
  }
}

function currentMemoryKib(domain: XmlElement): number {
  const unit = childAt(domain, 'currentMemory')?.attributes.unit ?? '';
  const bytes = scaledValue(textAt(domain, 'currentMemory') ?? '', unit, 1024n, './currentMemory[1]');
  return bytes ? Number((bytes + 1023n) / 1024n) : domainMemoryKib(domain);
}

function inKib(child: XmlElement, kib: number): XmlElement {
  return { ...child, attributes: { ...child.attributes, unit: 'KiB' }, children: [String(kib)] };
}

/** True for a fully virtual machine without `<boot>`, in `<os>` or at a device: libvirt lets it boot from its disk. */
function bootsFromDisk(os: XmlElement, domain: XmlElement): boolean {
  const devices = childAt(domain, 'devices');
  return (
    textAt(os, 'type') === 'hvm' &&
    childAt(os, 'boot') === undefined &&
    !(devices && childElements(devices).some((device) => childAt(device, 'boot') !== undefined))
  );
}

function withBoot(os: XmlElement): XmlElement {
  const isAfter = (child: XmlNode): boolean => typeof child !== 'string' && AFTER_BOOT.includes(child.name);
  return {
    ...os,
    children: [
      ...os.children.filter((child) => !isAfter(child)),
      element('boot', { dev: 'hd' }),
      ...os.children.filter(isAfter),
    ],
  };
}
