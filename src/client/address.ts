/** Where a libvirt URI leads: a socket of this machine, or a program of ssh that leads to one of another. */

import { existsSync } from 'node:fs';
import { unescape as unescaped } from 'node:querystring';
import { LibvirtError } from '../errors.ts';
import { shellCommand } from '../model/messages/shell-command.ts';
import { embeddedSocket, XEN_SOCKETS } from '../rpc/sockets.ts';

/** The address of a connection. */
export interface Address {
  /** The socket; of another machine its name, for messages. */
  readonly path: string;
  /** The URI for the daemon, without transport, host and parameters. */
  readonly uri: string;
  /** The program whose standard input and output are the connection. */
  readonly command?: readonly string[];
}

const URI =
  /^(?<scheme>[a-z]+)(?:\+(?<transport>[a-z0-9]+))?:\/\/(?:(?<user>[^@/]*)@)?(?<host>\[[^\]]*\]|[^/:]*)(?::(?<port>\d+))?(?<path>\/[^?]*)(?:\?(?<query>.*))?$/;

/** The sockets of each driver; the first that exists is used. */
const SOCKETS: Readonly<Record<string, () => readonly string[]>> = {
  xen: () => XEN_SOCKETS,
  test: () => [embeddedSocket()],
};

/**
 * Understands `xen:///system`, `test:///default`, both as `+unix` with `?socket=PATH`, and as `+ssh` with libvirt's parameters
 * keyfile, no_verify, no_tty, command, proxy, netcat and socket. Refuses (NO_CONNECT) other drivers, and (INVALID_ARG) other
 * transports and a NUL.
 */
export function addressOf(uri: string, readOnly: boolean): Address {
  if (/%00|\0/.test(uri)) throw new LibvirtError('INVALID_ARG', 'a URI cannot have a NUL in it', { domain: 'REMOTE' });
  const { scheme = '', transport = 'unix', path, query, ...there } = URI.exec(uri)?.groups ?? {};
  const sockets = SOCKETS[scheme];
  if (!sockets) throw new LibvirtError('NO_CONNECT', uri);
  const name = `${scheme}://${path}`;
  const parameters = new URLSearchParams(query);
  const socket = parameters.get('socket');
  if (transport === 'ssh' && there.host) {
    const { host, user, port } = there;
    const remote = remoteCommand({ name, readOnly, parameters, sockets: sockets() });
    return { path: host, uri: name, command: [...sshCommand({ host, user, port }, parameters), remote] };
  }
  if (transport !== 'unix' || there.host) {
    const wayOut = `xlsnap has no TLS and no TCP: use ${scheme}+ssh://${there.host || 'HOST'}${path}`;
    throw new LibvirtError('INVALID_ARG', `'${uri}' is not on this machine, and ${wayOut}`, { domain: 'REMOTE' });
  }
  if (socket) return { path: socket, uri: name };
  const places = sockets();
  const found = places.find((place) => existsSync(place)) ?? places.at(-1) ?? '';
  return { path: readOnly ? `${found}-ro` : found, uri: name };
}

/** Returns the URI to connect to if none is given: $LIBVIRT_DEFAULT_URI, or `xen:///system`. */
export function defaultUri({ LIBVIRT_DEFAULT_URI }: NodeJS.ProcessEnv): string {
  return LIBVIRT_DEFAULT_URI || 'xen:///system';
}

interface Host {
  readonly host: string;
  readonly user: string | undefined;
  readonly port: string | undefined;
}

/** The ssh client with its options, as libvirt runs it. `--` keeps a host's name from being one. */
function sshCommand({ host, user, port }: Host, parameters: URLSearchParams): readonly string[] {
  const keyfile = parameters.get('keyfile');
  return [
    parameters.get('command') ?? 'ssh',
    ...(port ? ['-p', port] : []),
    ...(user ? ['-l', unescaped(user)] : []),
    ...(keyfile ? ['-i', keyfile] : []),
    ...['-T', '-e', 'none'],
    ...(isSet(parameters, 'no_tty') ? ['-o', 'BatchMode=yes'] : []),
    ...(isSet(parameters, 'no_verify') ? ['-o', 'StrictHostKeyChecking=no'] : []),
    ...['--', host.replace(/^\[|\]$/g, '')],
  ];
}

const isSet = (parameters: URLSearchParams, name: string): boolean => Number(parameters.get(name)) === 1;

interface Remote {
  readonly name: string;
  readonly readOnly: boolean;
  readonly parameters: URLSearchParams;
  readonly sockets: readonly string[];
}

/** The command for the shell of the other machine: virt-ssh-helper, or nc if a socket or nc is asked for. */
function remoteCommand({ name, readOnly, parameters, sockets }: Remote): string {
  const [socket, netcat, proxy = 'auto'] = ['socket', 'netcat', 'proxy'].map((key) => parameters.get(key) ?? undefined);
  if (!['auto', 'native', 'netcat'].includes(proxy)) {
    throw new LibvirtError('INVALID_ARG', `Unknown proxy type '${proxy}'`, { domain: 'REMOTE' });
  }
  if (socket === undefined && netcat === undefined && proxy !== 'netcat') {
    return shellCommand('sh', '-c', shellCommand('virt-ssh-helper', ...(readOnly ? ['-r'] : []), name));
  }
  const program = shellCommand(netcat ?? 'nc');
  const path = shellCommand(socket ?? `${sockets.at(-1)}${readOnly ? '-ro' : ''}`);
  // Of the two kinds of nc, one stays when its standard input has ended, unless it is told not to.
  const script = `if ${program} -q 2>&1 | grep 'requires an argument' >/dev/null 2>&1; then ${program} -q0 -U ${path}; else ${program} -U ${path}; fi`;
  return shellCommand('sh', '-c', script);
}
