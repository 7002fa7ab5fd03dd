/** Definitions of embedded domains: reads those that clients send, and makes the one of the domain `test`. */

import { randomUUID } from 'node:crypto';
import { LibvirtError } from '../../errors.ts';
import { type DomainDefinition, HOST_ARCH } from '../../model/domain.ts';
import { childElements, element, type XmlElement } from '../../model/element.ts';
import { withDefaults } from '../../xml/domain/defaults.ts';
import { definitionOf } from '../../xml/domain/definition.ts';
import { checkDefinition, domainUuid, parseDomain } from '../../xml/domain/domain.ts';
import { inactiveFormat } from '../../xml/domain/formats.ts';

/** The domain types that an embedded domain may pretend to be. */
const TYPES: readonly string[] = ['xen', 'test', 'qemu', 'kvm'];

/** The kinds of guests, with the machines of libvirt's xen driver: what a domain pretends to be changes nothing here. */
export const GUESTS = [
  { osType: 'hvm', machine: 'xenfv', types: TYPES },
  { osType: 'xen', machine: 'xenpv', types: ['xen'] },
  { osType: 'xenpvh', machine: 'xenpvh', types: ['xen'] },
] as const;

/** The name of the domain in libvirt's own test driver. */
const DEFAULT_NAME = 'test';
/** The UUID of the domain in libvirt's own test driver. */
export const DEFAULT_UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/**
 * Reads a definition as virDomainDefineXML does: makes libvirt's first checks, in its words, and adds a UUID if there
 * is none. Returns the definition as libvirt would print it, so that a snapshot's copy of it can be returned unchanged.
 */
export function readDefinition(xml: string): DomainDefinition {
  const definition = parseDomain(xml);
  checkDefinition(definition);
  const { type = '' } = definition.attributes;
  if (!TYPES.includes(type)) {
    throw new LibvirtError('CONFIG_UNSUPPORTED', `invalid domain type ${type}`, { domain: 'DOMAIN' });
  }
  const uuid = domainUuid(definition);
  const complete = uuid === undefined ? withUuid(definition, randomUUID()) : definition;
  return definitionOf(inactiveFormat(withDefaults(complete)));
}

/** The definition of `test`, with its disk. */
export function defaultDefinition(image: string): DomainDefinition {
  const text = (name: string, value: string, attributes = {}) => element(name, attributes, [value]);
  const domain = element('domain', { type: 'xen' }, [
    text('name', DEFAULT_NAME),
    text('uuid', DEFAULT_UUID),
    text('memory', '4096', { unit: 'KiB' }),
    text('currentMemory', '4096', { unit: 'KiB' }),
    text('vcpu', '1', { placement: 'static' }),
    element('os', {}, [text('type', 'hvm', { arch: HOST_ARCH, machine: 'xenfv' }), element('boot', { dev: 'hd' })]),
    element('clock', { offset: 'utc' }),
    text('on_poweroff', 'destroy'),
    text('on_reboot', 'restart'),
    text('on_crash', 'destroy'),
    element('devices', {}, [
      element('disk', { type: 'file', device: 'disk' }, [
        element('driver', { name: 'qemu', type: 'qcow2' }),
        element('source', { file: image }),
        element('target', { dev: 'xvda', bus: 'xen' }),
      ]),
    ]),
  ]);
  return definitionOf(domain);
}

/** The definition as libvirt shows it while the domain runs. */
export function withId({ element: definition }: DomainDefinition, id: number): XmlElement {
  return { ...definition, attributes: { ...definition.attributes, id: String(id) } };
}

function withUuid(definition: XmlElement, uuid: string): XmlElement {
  const rest = childElements(definition).filter(({ name }) => name !== 'uuid');
  const children = rest.flatMap((child) => (child.name === 'name' ? [child, element('uuid', {}, [uuid])] : [child]));
  return { ...definition, children };
}
