/** Answers calls. Messages about wrong calls are those of GDBus, which libvirt-dbus uses. */

import { readFile } from 'node:fs/promises';
import { asLibvirtError } from '../errors.ts';
import { type Call, type Reply, variant } from './bus.ts';
import { type Interface, signatureOf } from './interface.ts';
import { type Described, introspection } from './introspection.ts';
import {
  CONNECT,
  DOMAIN,
  DOMAIN_SNAPSHOT,
  domainObject,
  domainPaths,
  type Served,
  snapshotObject,
  snapshotPaths,
  XLSNAP_DOMAIN,
} from './objects.ts';
import { type Located, locate } from './paths.ts';

/** The one name that all of libvirt's errors have. */
const LIBVIRT_ERROR = 'org.libvirt.Error';

const NOTHING: Reply = { signature: '', values: [] };

/** Answers a call to an object of ours. Never rejects. */
export async function dispatch(served: Served, call: Call): Promise<Reply> {
  try {
    const located = locate(served.places, call.path);
    if (call.interface === 'org.freedesktop.DBus.Peer') return await peer(call);
    if (!located) return refusal('UnknownMethod', `Object does not exist at path “${call.path}”`);
    const object = objectAt(served, located);
    switch (call.interface) {
      case 'org.freedesktop.DBus.Introspectable':
        if (call.member !== 'Introspect') return unknownMethod(call);
        return wrongArguments(call, '') ?? (await introspect(served, located, object));
      case 'org.freedesktop.DBus.Properties':
        return await properties(object, call);
      default:
        return await callMethod(object, call);
    }
  } catch (error) {
    return { error: LIBVIRT_ERROR, text: asLibvirtError(error).message };
  }
}

/** An error of the D-Bus protocol. */
export function refusal(name: 'AccessDenied' | 'InvalidArgs' | 'UnknownMethod', text: string): Reply {
  return { error: `org.freedesktop.DBus.Error.${name}`, text };
}

function unknownMethod({ interface: name, member, signature }: Call): Reply {
  const method = name ? `“${member}” on interface “${name}”` : `“${member}”`;
  return refusal('UnknownMethod', `Method ${method} with signature “${signature}” does not exist`);
}

/** Refuses a call whose arguments have other types. */
function wrongArguments({ signature }: Call, expected: string): Reply | undefined {
  if (signature === expected) return undefined;
  return refusal('InvalidArgs', `Type of message, “(${signature})”, does not match expected type “(${expected})”`);
}

/** The target of a path: its interfaces, whether or not the object exists. */
interface BusObject {
  readonly interfaces: readonly Described[];
  /** Rejects if the object does not exist. */
  open(): Promise<OpenObject>;
}

/** An existing object; its interfaces are tables. */
interface OpenObject {
  run(interfaceName: string, member: string, values: readonly unknown[]): Promise<Reply>;
  /** As a variant. */
  read(interfaceName: string, property: string): Promise<unknown>;
}

function objectAt(served: Served, located: Located): BusObject {
  switch (located.kind) {
    case 'connect':
      return busObject([CONNECT], async () => served);
    case 'domain':
      return busObject([DOMAIN, XLSNAP_DOMAIN], () => domainObject(served, located.uuid));
    case 'snapshot':
      return busObject([DOMAIN_SNAPSHOT], () => snapshotObject(served, located.uuid, located.name));
    default:
      return busObject([], async () => undefined);
  }
}

function busObject<T>(interfaces: readonly Interface<T>[], find: () => Promise<T>): BusObject {
  const table = (interfaceName: string) => interfaces.find(({ name }) => name === interfaceName);
  return {
    interfaces,
    open: async () => {
      const object = await find();
      return {
        run: async (interfaceName, member, values) =>
          (await table(interfaceName)?.methods[member]?.run(object, values)) ?? NOTHING,
        read: async (interfaceName, name) => {
          const property = table(interfaceName)?.properties[name];
          return property && variant(property.type, await property.read(object));
        },
      };
    },
  };
}

/** Finds the method; a call may leave its interface out. */
async function callMethod(object: BusObject, call: Call): Promise<Reply> {
  const asked = object.interfaces.filter(({ name }) => call.interface === undefined || name === call.interface);
  const found = asked.find(({ methods }) => Object.hasOwn(methods, call.member));
  const takes = found?.methods[call.member]?.takes;
  if (!found || !takes) {
    const known = call.interface !== undefined && asked.length > 0;
    return known ? refusal('UnknownMethod', `No such method “${call.member}”`) : unknownMethod(call);
  }
  return (
    wrongArguments(call, signatureOf(takes)) ?? (await (await object.open()).run(found.name, call.member, call.args))
  );
}

/** The signatures of org.freedesktop.DBus.Properties. */
const PROPERTIES = new Map([
  ['Get', 'ss'],
  ['GetAll', 's'],
  ['Set', 'ssv'],
]);

async function properties(object: BusObject, call: Call): Promise<Reply> {
  const signature = PROPERTIES.get(call.member);
  const wrong = signature === undefined ? unknownMethod(call) : wrongArguments(call, signature);
  if (wrong) return wrong;
  const [name = '', property = ''] = call.args as readonly string[];
  const table = object.interfaces.find((described) => described.name === name)?.properties;
  if (!table) return refusal('InvalidArgs', `No such interface “${name}”`);
  if (call.member === 'GetAll') {
    return { signature: 'a{sv}', values: [await readable(await object.open(), name, Object.keys(table))] };
  }
  if (!Object.hasOwn(table, property)) return refusal('InvalidArgs', `No such property “${property}”`);
  if (call.member === 'Set') return refusal('InvalidArgs', `Property “${property}” is not writable`);
  return { signature: 'v', values: [await (await object.open()).read(name, property)] };
}

/**
 * Returns the properties as libvirt-dbus does: leaves out one that cannot be read, and wraps each in two variants, which is
 * how its clients (cockpit-machines) unpack them.
 */
async function readable(object: OpenObject, name: string, keys: readonly string[]) {
  const values = await Promise.allSettled(keys.map((key) => object.read(name, key)));
  return Object.fromEntries(
    values.flatMap((value, index) => (value.status === 'fulfilled' ? [[keys[index], variant('v', value.value)]] : [])),
  );
}

/** Introspects; an object that does not exist is an empty node, as with GDBus. */
async function introspect(served: Served, located: Located, object: BusObject): Promise<Reply> {
  const exists = await object.open().then(
    () => true,
    () => false,
  );
  const text = introspection(exists ? object.interfaces : [], await children(served, located));
  return { signature: 's', values: [text] };
}

async function children(served: Served, located: Located): Promise<readonly string[]> {
  switch (located.kind) {
    case 'node':
      return [located.child];
    case 'connect':
      return [served.places.domains, served.places.snapshots].map(lastPart);
    case 'domains':
      return (await domainPaths(served)).map(lastPart);
    case 'snapshots':
      return (await snapshotPaths(served)).map(lastPart);
    default:
      return [];
  }
}

const lastPart = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

async function peer(call: Call): Promise<Reply> {
  const wrong = wrongArguments(call, '');
  switch (call.member) {
    case 'Ping':
      return wrong ?? NOTHING;
    case 'GetMachineId':
      return wrong ?? { signature: 's', values: [(await readFile('/etc/machine-id', 'utf8')).trim()] };
    default:
      return unknownMethod(call);
  }
}
