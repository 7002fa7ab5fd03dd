/** Reads and checks a domain's definition. */

import { LibvirtError } from '../../errors.ts';
import { childAt, textAt, type XmlElement } from '../../model/element.ts';
import { parseXml } from '../engine/parse.ts';
import { canonicalUuid, refusal, scaledValue } from '../engine/values.ts';

/** Reads a `<domain>` document. Refuses another root element. */
export function parseDomain(text: string): XmlElement {
  const domain = parseXml(text, 'domain_definition');
  if (domain.name !== 'domain') {
    throw new LibvirtError('XML_ERROR', `unexpected root element <${domain.name}>, expecting <domain>`, {
      domain: 'DOMAIN',
    });
  }
  return domain;
}

/** Returns the domain's name. Refuses (NO_NAME) a definition without one, as libvirt does. */
export function domainName(domain: XmlElement): string {
  const name = textAt(domain, 'name');
  if (name === undefined) throw refusal('NO_NAME', '');
  return name;
}

/** Returns the domain's UUID as libvirt writes it, or undefined; libvirt's own definitions always have one. */
export function domainUuid(domain: XmlElement): string | undefined {
  const text = textAt(domain, 'uuid');
  if (text === undefined) return undefined;
  const uuid = canonicalUuid(text);
  if (uuid === undefined) throw refusal('INTERNAL_ERROR', 'malformed uuid element');
  return uuid;
}

/** Returns the maximum memory at the domain's start, KiB, rounded up. */
export function domainMemoryKib(domain: XmlElement): number {
  const unit = childAt(domain, 'memory')?.attributes.unit ?? '';
  const bytes = scaledValue(textAt(domain, 'memory') ?? '', unit, 1024n, './memory[1]');
  if (!bytes) {
    throw refusal('XML_ERROR', 'Memory size must be specified via <memory> or in the <numa> configuration');
  }
  return Number((bytes + 1023n) / 1024n);
}

/** Returns the memory that the balloon leaves the guest, KiB: that at the start, unless the definition has less. */
export function currentMemoryKib(domain: XmlElement): number {
  const maximum = domainMemoryKib(domain);
  const unit = childAt(domain, 'currentMemory')?.attributes.unit ?? '';
  const bytes = scaledValue(textAt(domain, 'currentMemory') ?? '', unit, 1024n, './currentMemory[1]');
  return bytes ? Math.min(Number((bytes + 1023n) / 1024n), maximum) : maximum;
}

/**
 * Returns the event after which the domain's owner starts it again by itself (`on_reboot`), undefined if it never does.
 * libvirt's own definitions name all actions.
 */
export function restartingEvent(domain: XmlElement): string | undefined {
  const events = ['on_poweroff', 'on_reboot', 'on_crash'];
  return events.find((event) => textAt(domain, event)?.includes('restart'));
}

/** virDomainVirtType and virDomainOSType. */
const VIRT_TYPES = 'qemu kqemu kvm xen lxc uml openvz test vmware hyperv vbox phyp parallels bhyve vz hvf'.split(' ');
const OS_TYPES = 'hvm xen linux exe uml xenpvh'.split(' ');

/**
 * Checks a client's definition for what libvirt's own parser demands of every definition, in its order and words. The host
 * may still refuse a definition that passes.
 */
export function checkDefinition(domain: XmlElement): void {
  const name = domainName(domain);
  domainUuid(domain);
  const { type } = domain.attributes;
  if (type === undefined) throw refusal('INTERNAL_ERROR', 'missing domain type attribute');
  if (!VIRT_TYPES.includes(type)) throw refusal('CONFIG_UNSUPPORTED', `invalid domain type ${type}`);
  const osType = textAt(domain, 'os', 'type');
  if (osType === undefined && childAt(domain, 'bootloader') === undefined) {
    throw refusal('XML_ERROR', 'an os <type> must be specified');
  }
  if (osType !== undefined && !OS_TYPES.includes(osType)) {
    throw refusal('CONFIG_UNSUPPORTED', `unknown OS type '${osType}'`);
  }
  domainMemoryKib(domain);
  const vcpus = textAt(domain, 'vcpu');
  if (vcpus !== undefined && !/^\s*\+?\d+$/.test(vcpus)) {
    throw refusal('XML_ERROR', 'maximum vcpus count must be an integer');
  }
  if (name.includes('/')) throw refusal('XML_ERROR', `name ${name} cannot contain '/'`);
}
