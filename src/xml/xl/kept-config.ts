/**
 * A libxl_domain_config inside a definition's `<metadata>`, so that libxl gets every field back that `<domain>` has no place
 * for. What XML and config both say is the XML's: disks, because a snapshot's definition may have others than its guest
 * had; and passwords, because metadata is shown to everyone, those of `<graphics>` only with --security-info.
 */

import { LibvirtError } from '../../errors.ts';
import { libxlDeviceDisk } from '../../model/device-disk.ts';
import { childAt, childElements, element, textOf, type XmlElement } from '../../model/element.ts';
import { domainDisks } from '../domain/disks.ts';
import { domainName } from '../domain/domain.ts';
import { asConfig, type ConfigDisk, type Spice, type Vfb, type Vnc, type XlConfig } from './config.ts';
import { diskElement } from './devices.ts';

const NAMESPACE = 'http://xlsnap.org/schemas/domain/xl/1.0';
const NAME = 'xl:config';

/** Characters that JSON allows in strings, and XML nowhere. */
const NOT_XML = /[\ufffe\uffff]/g;

/** Returns the element that keeps a config. */
export function keptConfig(config: XlConfig): XmlElement {
  const json = JSON.stringify(withPasswords(config, {})).replace(NOT_XML, (character) => {
    return `\\u${character.charCodeAt(0).toString(16)}`;
  });
  return element(NAME, { 'xmlns:xl': NAMESPACE }, [json]);
}

/** Returns the kept config with the definition's disks and passwords. Refuses (XML_ERROR) a definition that keeps none. */
export function configIn(domain: XmlElement): XlConfig {
  const metadata = childAt(domain, 'metadata');
  const kept = metadata && childElements(metadata).find(isKept);
  if (!kept) throw new LibvirtError('XML_ERROR', `domain '${domainName(domain)}' has no <xl:config> in its <metadata>`);
  const config = read(textOf(kept), domain);
  const disks = disksOf(domain, config.disks ?? []);
  const { disks: _, ...rest } = config;
  return withPasswords({ ...rest, ...(disks.length > 0 && { disks }) }, passwordsOf(domain));
}

/** The prefix is the document's choice. */
function isKept({ name, attributes }: XmlElement): boolean {
  const [prefix, local] = name.split(':');
  return local === 'config' && attributes[`xmlns:${prefix}`] === NAMESPACE;
}

function read(json: string, domain: XmlElement): XlConfig {
  const what = `the <xl:config> of domain '${domainName(domain)}'`;
  let config: unknown;
  try {
    config = JSON.parse(json);
  } catch (cause) {
    throw new LibvirtError('XML_ERROR', `${what} is malformed: ${(cause as Error).message}`, { cause });
  }
  return asConfig(config, what);
}

/** A disk that the XML describes as the config does is the config's own, with the fields that only libxl knows. */
function disksOf(domain: XmlElement, kept: readonly ConfigDisk[]): readonly ConfigDisk[] {
  const before = new Map(kept.map((disk) => [disk.vdev, disk]));
  const asRead = ({ discard_enable, ...disk }: ReturnType<typeof libxlDeviceDisk>): ConfigDisk => ({
    ...disk,
    ...(typeof discard_enable === 'boolean' && { discard_enable: discard_enable ? 'True' : 'False' }),
  });
  const order = kept.map(({ vdev }) => vdev);
  return domainDisks(domain)
    .map((disk) => {
      const now = asRead(libxlDeviceDisk(disk));
      const old = before.get(disk.target);
      if (!old) return now;
      const asBefore = domainDisks(element('domain', {}, [element('devices', {}, [diskElement(old)])]));
      const [then] = asBefore.map((each) => asRead(libxlDeviceDisk(each)));
      return JSON.stringify(then) === JSON.stringify(now) ? old : { ...without(old, then ?? {}), ...now };
    })
    .toSorted((one, other) => place(order, one.vdev) - place(order, other.vdev));
}

/** New disks come last. */
const place = (order: readonly string[], vdev: string): number =>
  order.includes(vdev) ? order.indexOf(vdev) : order.length;

function without(disk: ConfigDisk, fields: object): ConfigDisk {
  return Object.fromEntries(Object.entries(disk).filter(([name]) => !(name in fields))) as unknown as ConfigDisk;
}

/** Of each kind of `<graphics>`. */
interface Passwords {
  readonly vnc?: string | undefined;
  readonly spice?: string | undefined;
}

function passwordsOf(domain: XmlElement): Passwords {
  const devices = childAt(domain, 'devices');
  const of = (kind: string) =>
    devices && childElements(devices, 'graphics').find(({ attributes }) => attributes.type === kind)?.attributes.passwd;
  return { vnc: of('vnc'), spice: of('spice') };
}

/** Puts these passwords in the place of those that the config has. */
function withPasswords(config: XlConfig, { vnc, spice }: Passwords): XlConfig {
  const { b_info, vfbs } = config;
  const hvm = b_info['type.hvm'];
  const changed = hvm && {
    ...hvm,
    ...(hvm.vnc && { vnc: withPassword(hvm.vnc, vnc) }),
    ...(hvm.spice && { spice: withPassword(hvm.spice, spice) }),
  };
  return {
    ...config,
    b_info: { ...b_info, ...(changed && { 'type.hvm': changed }) },
    ...(vfbs && { vfbs: vfbs.map((vfb): Vfb => (vfb.vnc ? { ...vfb, vnc: withPassword(vfb.vnc, vnc) } : vfb)) }),
  };
}

function withPassword<T extends Vnc | Spice>({ passwd: _, ...rest }: T, passwd: string | undefined): T {
  return { ...rest, ...(passwd !== undefined && { passwd }) } as T;
}
