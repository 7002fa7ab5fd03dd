/** Finds the socket for a libvirt URI. xlsnap connects only to daemons on this machine. */

import { existsSync } from 'node:fs';
import { LibvirtError } from '../errors.ts';
import { RpcClient } from '../rpc/client/client.ts';
import { embeddedSocket, XEN_SOCKETS } from '../rpc/sockets.ts';
import { failure } from './failure.ts';

/** The address of a connection. */
interface Address {
  /** Socket of the daemon. */
  readonly path: string;
  /** The URI for the daemon, without transport and parameters. */
  readonly uri: string;
}

const URI = /^(?<scheme>[a-z]+)(?:\+(?<transport>[a-z0-9]+))?:\/\/(?<host>[^/]*)(?<path>\/[^?]*)(?:\?(?<query>.*))?$/;

/** The sockets of each driver; the first that exists is used. */
const SOCKETS: Readonly<Record<string, () => readonly string[]>> = {
  xen: () => XEN_SOCKETS,
  test: () => [embeddedSocket()],
};

/** Understands `xen:///system`, `test:///default`, and both as `+unix` with `?socket=PATH`. */
export function addressOf(uri: string, readOnly: boolean): Address {
  const { scheme = '', transport = 'unix', host, path, query } = URI.exec(uri)?.groups ?? {};
  const sockets = SOCKETS[scheme];
  if (!sockets) throw new LibvirtError('NO_CONNECT', uri);
  if (transport !== 'unix' || host) {
    throw failure(`'${uri}' is not on this machine: use virsh, or run xlsnap there`);
  }
  const name = `${scheme}://${path}`;
  const socket = new URLSearchParams(query).get('socket');
  if (socket) return { path: socket, uri: name };
  const places = sockets();
  const found = places.find((place) => existsSync(place)) ?? places.at(-1) ?? '';
  return { path: readOnly ? `${found}-ro` : found, uri: name };
}

interface ConnectOptions {
  readonly uri: string;
  readonly readOnly: boolean;
  readonly signal?: AbortSignal;
}

/** Connects. Rejects with libvirt's own messages. */
export function connect({ uri, readOnly, signal }: ConnectOptions): Promise<RpcClient> {
  return RpcClient.connect({ ...addressOf(uri, readOnly), readOnly, ...(signal && { signal }) });
}
