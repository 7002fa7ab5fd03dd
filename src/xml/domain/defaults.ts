/**
 * A definition that libvirt did not print, as it would print it: what it always prints is filled in, sizes are KiB, the
 * parts stand in its order (virDomainDefPostParse, virDomainDefFormatInternal). Device by device formatting is left to
 * the host that owns the domain.
 */

import { childAt, childElements, element, textAt, type XmlElement, type XmlNode } from '../../model/element.ts';
import { scaledValue } from '../engine/values.ts';
import { domainMemoryKib, domainUuid } from './domain.ts';

/** The children of `<domain>` in the order in which libvirt prints them; a namespace's own come last. */
const ORDER: readonly string[] = [
  ...['name', 'uuid', 'genid', 'title', 'description', 'metadata', 'maxMemory', 'memory', 'currentMemory'],
  ...['blkiotune', 'memtune', 'memoryBacking', 'vcpu', 'vcpus', 'iothreads', 'iothreadids', 'defaultiothread'],
  ...['cputune', 'numatune', 'resource', 'sysinfo', 'bootloader', 'bootloader_args', 'os', 'idmap', 'features', 'cpu'],
  ...['clock', 'on_poweroff', 'on_reboot', 'on_crash', 'on_lockfailure', 'pm', 'perf', 'devices', 'seclabel'],
  ...['keywrap', 'launchSecurity'],
];

/** What libvirt prints where a definition says nothing. */
const DEFAULTS: readonly XmlElement[] = [
  element('vcpu', {}, ['1']),
  element('clock', { offset: 'utc' }),
  element('on_poweroff', {}, ['destroy']),
  element('on_reboot', {}, ['restart']),
  element('on_crash', {}, ['destroy']),
  element('devices'),
];

/** What follows `<boot>` in `<os>`. */
const AFTER_BOOT: readonly string[] = ['bootmenu', 'bios', 'smbios', 'acpi'];

/** A definition that has all that libvirt always prints is one it printed, and keeps its bytes. */
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

/** A fully virtual machine boots from its disk unless it is told otherwise, there or at a device. */
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
