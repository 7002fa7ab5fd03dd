/** Encodes object paths as libvirt-dbus does, and decodes them. */

/** The daemon's top objects; all others are below one of them. */
export interface Places {
  /** org.libvirt.Connect: `/org/libvirt/Xen`. */
  readonly connect: string;
  readonly domains: string;
  readonly snapshots: string;
}

/** `driver`: libvirt-dbus' name of it, `Xen` or `Test`. */
export function placesOf(driver: string): Places {
  const connect = `/org/libvirt/${driver}`;
  return { connect, domains: `${connect}/domain`, snapshots: `${connect}/domainsnapshot` };
}

/** `…/domain/_<uuid, with _ for ->`. */
export const domainPath = (places: Places, uuid: string): string => `${places.domains}/${encodeUuid(uuid)}`;

/** `…/domainsnapshot/_<uuid>_<name>`. */
export const snapshotPath = (places: Places, uuid: string, name: string): string =>
  `${places.snapshots}/${encodeUuid(uuid)}_${encodeName(name)}`;

/** The target of a path. `node`: not an object, but a parent of objects. */
export type Located =
  | { readonly kind: 'connect' }
  | { readonly kind: 'domains' }
  | { readonly kind: 'snapshots' }
  | { readonly kind: 'node'; readonly child: string }
  | { readonly kind: 'domain'; readonly uuid: string }
  | { readonly kind: 'snapshot'; readonly uuid: string; readonly name: string };

/** Decodes a path. Returns undefined for one that this daemon cannot have made; does not check that the object exists. */
export function locate(places: Places, path: string): Located | undefined {
  if (path === places.connect) return { kind: 'connect' };
  if (path === places.domains) return { kind: 'domains' };
  if (path === places.snapshots) return { kind: 'snapshots' };
  const above = path === '/' ? path : `${path}/`;
  if (places.connect.startsWith(above)) {
    return { kind: 'node', child: places.connect.slice(above.length).split('/', 1)[0] ?? '' };
  }
  return locateDomain(places, path) ?? locateSnapshot(places, path);
}

function locateDomain(places: Places, path: string): Located | undefined {
  const encoded = childOf(places.domains, path);
  const uuid = encoded === undefined ? undefined : decodeUuid(encoded);
  return uuid === undefined ? undefined : { kind: 'domain', uuid };
}

/** Length of an encoded UUID. */
const UUID_LENGTH = 37;

function locateSnapshot(places: Places, path: string): Located | undefined {
  const encoded = childOf(places.snapshots, path);
  if (encoded?.[UUID_LENGTH] !== '_') return undefined;
  const uuid = decodeUuid(encoded.slice(0, UUID_LENGTH));
  const name = decodeName(encoded.slice(UUID_LENGTH + 1));
  return uuid === undefined || name === undefined ? undefined : { kind: 'snapshot', uuid, name };
}

function childOf(parent: string, path: string): string | undefined {
  return path.startsWith(`${parent}/`) ? path.slice(parent.length + 1) : undefined;
}

const encodeUuid = (uuid: string): string => `_${uuid.replaceAll('-', '_')}`;

function decodeUuid(encoded: string): string | undefined {
  return /^_[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}$/.test(encoded)
    ? encoded.slice(1).replaceAll('_', '-')
    : undefined;
}

/** Encodes every byte of the UTF-8 name except ASCII letters and digits as `_` and two hexadecimal digits. */
function encodeName(name: string): string {
  const byte = (value: number): string => {
    const character = String.fromCharCode(value);
    return /[A-Za-z0-9]/.test(character) ? character : `_${value.toString(16).padStart(2, '0')}`;
  };
  return Array.from(Buffer.from(name), byte).join('');
}

/** Decodes a name. Returns undefined for any but its one encoding. */
function decodeName(encoded: string): string | undefined {
  const bytes = Buffer.from(
    encoded.replace(/_([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
  const name = bytes.toString();
  return encodeName(name) === encoded ? name : undefined;
}
