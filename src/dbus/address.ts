/** Finds the socket of a message bus (D-Bus Specification, "Server Addresses"). Only UNIX sockets: a bus is local. */

import { LibvirtError } from '../errors.ts';

/** The specification's default address of the system bus. */
const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the socket of a bus: `system`, `session` (both found as every D-Bus program finds them) or an address. A socket in
 * Linux' abstract namespace starts with a NUL, as Node expects. Refuses (INVALID_ARG) an address without a UNIX socket.
 */
export function busSocket(bus: string, env: Environment = process.env): string {
  const address = addressOf(bus, env);
  for (const part of address.split(';')) {
    const [transport, parameters = ''] = splitOnce(part, ':');
    const keys = new Map(parameters.split(',').map((pair) => splitOnce(pair, '=')));
    const path = unescaped(keys.get('path'));
    const abstract = unescaped(keys.get('abstract'));
    if (transport !== 'unix') continue;
    if (path) return path;
    if (abstract) return `\0${abstract}`;
  }
  throw new LibvirtError('INVALID_ARG', `no UNIX socket in the D-Bus address '${address}' (unix:path=PATH)`);
}

function addressOf(bus: string, env: Environment): string {
  if (bus === 'system') return env.DBUS_SYSTEM_BUS_ADDRESS ?? SYSTEM_BUS;
  if (bus !== 'session') return bus;
  const { DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR } = env;
  if (DBUS_SESSION_BUS_ADDRESS) return DBUS_SESSION_BUS_ADDRESS;
  if (XDG_RUNTIME_DIR) return `unix:path=${XDG_RUNTIME_DIR}/bus`;
  const text = 'there is no session bus here: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set';
  throw new LibvirtError('INVALID_ARG', text);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

const unescaped = (value: string | undefined): string | undefined =>
  value?.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
