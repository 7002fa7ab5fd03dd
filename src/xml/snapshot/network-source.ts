/** Reads `<source protocol=…>`: disks on the network (virDomainDiskSourceNetworkParse in src/conf/domain_conf.c). */

import { childAt, childElements, element, textOf, type XmlElement } from '../../model/element.ts';
import { enumAttribute, pickAttributes, refusal, requiredEnumAttribute, unsignedInteger } from '../engine/values.ts';

/** virStorageNetProtocol, each with the default port of its hosts; 0: no default. */
const DEFAULT_PORTS = {
  none: 0,
  nbd: 10809,
  rbd: 0,
  sheepdog: 7000,
  gluster: 24007,
  iscsi: 3260,
  http: 80,
  https: 443,
  ftp: 21,
  ftps: 990,
  tftp: 69,
  ssh: 22,
  vxhs: 9999,
  nfs: 0,
} as const;

type Protocol = keyof typeof DEFAULT_PORTS;

const PROTOCOLS = Object.keys(DEFAULT_PORTS) as Protocol[];
const POOLED: readonly Protocol[] = ['gluster', 'rbd'];
const WEB: readonly Protocol[] = ['http', 'https'];
const FETCHED: readonly Protocol[] = ['http', 'https', 'ftp', 'ftps'];
const ENCRYPTED: readonly Protocol[] = ['https', 'ftps'];
const YES_NO = ['yes', 'no'] as const;

/** Returns the normalised network source. `path` is the name without its leading pool or volume. */
export function readNetworkSource(source: XmlElement): {
  readonly path?: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
} {
  const protocol = requiredEnumAttribute(source, 'protocol', PROTOCOLS);
  const { name } = source.attributes;
  if (name === undefined && protocol !== 'nbd') throw refusal('XML_ERROR', 'missing name for disk source');
  enumAttribute(source, 'tls', YES_NO);
  const path = name !== undefined && POOLED.includes(protocol) ? withoutPool(name) : name;
  const hosts = childElements(source, 'host').map((host) => readHost(host, DEFAULT_PORTS[protocol]));
  const web = WEB.includes(protocol);
  const children = [
    ...hosts,
    ...(protocol === 'nfs' ? readPart(source, 'identity', 'user', 'group') : []),
    ...readPart(source, 'snapshot', 'name'),
    ...readPart(source, 'config', 'file'),
    ...readInitiator(source),
    ...(ENCRYPTED.includes(protocol) ? readSsl(source) : []),
  ];
  if (web) checkCookies(source);
  const waits = FETCHED.includes(protocol)
    ? [...readNumber(source, 'readahead', 'size'), ...readNumber(source, 'timeout', 'seconds')]
    : [];
  const names = ['protocol', 'name', ...(web ? ['query'] : []), 'tls', 'tlsHostname'];
  return { ...(path && { path }), attributes: pickAttributes(source, ...names), children: [...children, ...waits] };
}

function withoutPool(name: string): string {
  const slash = name.indexOf('/');
  if (slash <= 0) throw refusal('XML_ERROR', `can't split path '${name}' into pool name and image name`);
  return name.slice(slash + 1);
}

/** virDomainStorageNetworkParseHost */
function readHost(host: XmlElement, defaultPort: number): XmlElement {
  const { transport, socket, name, port } = host.attributes;
  if (transport !== undefined && !['tcp', 'unix', 'rdma'].includes(transport)) {
    throw refusal('CONFIG_UNSUPPORTED', `unknown protocol transport type '${transport}'`);
  }
  if (transport === 'unix') {
    if (socket === undefined) throw refusal('XML_ERROR', 'missing socket for unix transport');
    return element('host', { transport, socket });
  }
  if (socket !== undefined) {
    throw refusal('XML_ERROR', `transport '${transport ?? '(null)'}' does not support socket attribute`);
  }
  if (name === undefined) throw refusal('XML_ERROR', 'missing name for host');
  const number = (port === undefined ? 0 : readPort(port)) || (transport === 'rdma' ? 0 : defaultPort);
  return element('host', {
    name,
    ...(number > 0 && { port: String(number) }),
    ...(transport === 'rdma' && { transport }),
  });
}

function readPort(text: string): number {
  const value = unsignedInteger(text, 32);
  if (value === undefined) throw refusal('INVALID_ARG', `failed to parse port number '${text}'`);
  if (value > 0xffffn) throw refusal('INVALID_ARG', `port '${text}' out of range`);
  return Number(value);
}

/** Reads a child that has only attributes; leaves it out if it has none of them. */
function readPart(source: XmlElement, name: string, ...attributes: readonly string[]): readonly XmlElement[] {
  const child = childAt(source, name);
  const given = Object.entries(child ? pickAttributes(child, ...attributes) : {}).filter(([, value]) => value !== '');
  return given.length > 0 ? [element(name, Object.fromEntries(given))] : [];
}

function readInitiator(source: XmlElement): readonly XmlElement[] {
  const initiator = childAt(source, 'initiator');
  const iqn = initiator ? readPart(initiator, 'iqn', 'name') : [];
  return iqn.length > 0 ? [element('initiator', {}, iqn)] : [];
}

function readSsl(source: XmlElement): readonly XmlElement[] {
  const ssl = childAt(source, 'ssl');
  const verify = ssl && enumAttribute(ssl, 'verify', YES_NO);
  return verify ? [element('ssl', { verify })] : [];
}

function readNumber(source: XmlElement, name: string, attribute: string): readonly XmlElement[] {
  const text = childAt(source, name)?.attributes[attribute];
  if (!text) return [];
  const value = unsignedInteger(text);
  if (value === undefined) throw refusal('XML_ERROR', 'invalid readahead size or timeout');
  return value > 0n ? [element(name, { [attribute]: String(value) })] : [];
}

const BAD_IN_NAME = /[\0-\x20()<>@,;:\\"/[\]?={}\x7f]/;
const BAD_IN_VALUE = /[\0-\x20",;\\\x7f]/;

/** Checks cookies, which are then left out: libvirt never prints them in a snapshot, not even with secrets. */
function checkCookies(source: XmlElement): void {
  const cookies = childElements(source, 'cookies').flatMap((parent) => childElements(parent, 'cookie'));
  const seen = new Set<string>();
  for (const cookie of cookies) {
    const { name } = cookie.attributes;
    const value = textOf(cookie);
    if (!name) throw refusal('XML_ERROR', 'missing cookie name');
    if (!value) throw refusal('XML_ERROR', `missing value for cookie '${name}'`);
  }
  for (const cookie of cookies) {
    const name = cookie.attributes.name ?? '';
    if (BAD_IN_NAME.test(name)) throw refusal('XML_ERROR', `cookie name '${name}' contains invalid characters`);
    if (BAD_IN_VALUE.test(textOf(cookie))) {
      throw refusal('XML_ERROR', `value of cookie '${name}' contains invalid characters`);
    }
    if (seen.has(name)) throw refusal('XML_ERROR', `duplicate cookie '${name}'`);
    seen.add(name);
  }
}
