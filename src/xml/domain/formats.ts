/**
 * Turns a live definition into the inactive one that libvirt would print, and removes secrets as libvirt does. Each
 * rule is one place of virDomainDefFormat (or of the inactive parse that libvirt's copies go through) in
 * src/conf/domain_conf.c.
 */

import type { XmlElement, XmlNode } from '../../model/element.ts';
import { orderedDiskElements } from './disks.ts';

/** Returns the element that replaces the one found, or undefined to remove it. */
type Rule = (found: XmlElement) => XmlElement | undefined;
type Rules = readonly { readonly path: RegExp; readonly rule: Rule }[];

/** Paths are names from the domain down; `*` is any one name. */
function rules(table: readonly (readonly [path: string, rule: Rule])[]): Rules {
  return table.map(([path, rule]) => ({ path: new RegExp(`^${path.replaceAll('*', '[^/]+')}$`), rule }));
}

const drop: Rule = () => undefined;

/** Leaves attributes out. */
const without =
  (...names: readonly string[]): Rule =>
  (found) => ({
    ...found,
    attributes: Object.fromEntries(Object.entries(found.attributes).filter(([name]) => !names.includes(name))),
  });

/** Leaves child elements out. */
const withoutChild =
  (name: string): Rule =>
  (found) => ({
    ...found,
    children: found.children.filter((child) => typeof child === 'string' || child.name !== name),
  });

/** Applies a rule only if a condition holds. */
const onlyIf =
  (condition: (found: XmlElement) => boolean, rule: Rule): Rule =>
  (found) =>
    condition(found) ? rule(found) : found;

const has =
  (name: string, value: string): ((found: XmlElement) => boolean) =>
  (found) =>
    found.attributes[name] === value;

const isEmpty = (found: XmlElement): boolean =>
  Object.keys(found.attributes).length === 0 && found.children.length === 0;

/** Target names that a driver generated: libvirt's own prefixes, and the xen driver's. */
const GENERATED_TARGET = /^(vnet|macvtap|macvlan|vif)/;

const dropGeneratedTarget: Rule = (found) => {
  const rest = GENERATED_TARGET.test(found.attributes.dev ?? '') ? without('dev')(found) : found;
  return rest && isEmpty(rest) ? undefined : rest;
};

/** Ports that `autoport` chose, and the values that mean "choose one" instead. */
const AUTOMATIC_PORTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  vnc: { port: '-1' },
  rdp: { port: '0' },
};

const forgetChosenPort: Rule = (found) => {
  if (found.attributes.autoport !== 'yes') return found;
  const automatic = AUTOMATIC_PORTS[found.attributes.type ?? ''];
  if (automatic) return { ...found, attributes: { ...found.attributes, ...automatic } };
  return without('port', 'tlsPort')(found);
};

const dropRuntimePath: Rule = (found) => {
  const rest = without('path')(found);
  return rest && isEmpty(rest) ? undefined : rest;
};

/** Applies a rule to one child of elements of one `type`. */
const inType = (type: string, name: string, rule: Rule): Rule =>
  onlyIf(has('type', type), (found) => mapChildren(found, (child) => (child.name === name ? rule(child) : child)));

/** A seclabel of a disk's source that only turns labelling off (`labelskip`). */
const hasNoLabel = (found: XmlElement): boolean => found.children.length === 0 && found.attributes.relabel !== 'no';

const INACTIVE = rules([
  ['domain', without('id')],
  ['domain/seclabel', onlyIf((found) => found.attributes.type !== 'static', withoutChild('label'))],
  ['domain/seclabel', withoutChild('imagelabel')],
  ['domain/devices/*/alias', onlyIf((found) => !found.attributes.name?.startsWith('ua-'), drop)],
  ['domain/devices/disk/mirror', drop],
  ['domain/devices/disk/source', without('index')],
  ['domain/devices/disk/source/seclabel', onlyIf(hasNoLabel, drop)],
  ['domain/devices/interface', inType('network', 'source', without('portid', 'bridge'))],
  ['domain/devices/interface/target', dropGeneratedTarget],
  ['domain/devices/console', without('tty')],
  ['domain/devices/console', inType('pty', 'source', dropRuntimePath)],
  ['domain/devices/serial', inType('pty', 'source', dropRuntimePath)],
  ['domain/devices/parallel', inType('pty', 'source', dropRuntimePath)],
  ['domain/devices/channel', inType('pty', 'source', dropRuntimePath)],
  ['domain/devices/channel/target', without('state')],
  ['domain/devices/graphics', forgetChosenPort],
  ['domain/devices/graphics/listen', onlyIf(has('type', 'network'), without('address'))],
  ['domain/devices/memory/target/current', drop],
]);

const SECRETS = rules([
  ['domain/devices/graphics', without('passwd')],
  ['domain/devices/disk/source/cookies', drop],
  ['domain/devices/disk/backingStore/source/cookies', drop],
]);

/**
 * Returns the definition as libvirt prints it inactive: nothing that belongs to one run of the domain, disks in order.
 */
export function inactiveFormat(domain: XmlElement): XmlElement {
  const formatted = applyRules(domain, INACTIVE);
  const ordered = [...orderedDiskElements(formatted)];
  return mapChildren(formatted, (child) =>
    child.name === 'devices'
      ? mapChildren(child, (device) => (device.name === 'disk' ? ordered.shift() : device))
      : child,
  );
}

/** Returns the definition as libvirt prints it without VIR_DOMAIN_XML_SECURE. */
export function withoutSecrets(domain: XmlElement): XmlElement {
  return applyRules(domain, SECRETS);
}

function applyRules(domain: XmlElement, table: Rules): XmlElement {
  const visit = (found: XmlElement, path: string): XmlElement | undefined => {
    let result: XmlElement | undefined = found;
    for (const { path: pattern, rule } of table) if (result && pattern.test(path)) result = rule(result);
    return result && mapChildren(result, (child) => visit(child, `${path}/${child.name}`));
  };
  // Paths start with `domain` whatever the root's name is: `<inactiveDomain>` is a definition, too.
  return visit(domain, 'domain') ?? domain;
}

function mapChildren(parent: XmlElement, map: (child: XmlElement) => XmlElement | undefined): XmlElement {
  const children = parent.children.map((child): XmlNode | undefined =>
    typeof child === 'string' ? child : map(child),
  );
  return { ...parent, children: children.filter((child): child is XmlNode => child !== undefined) };
}
