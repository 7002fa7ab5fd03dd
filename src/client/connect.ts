/** Connects to xlsnapd, or to libvirtd, as libvirt's virConnectOpen does. */

import type { DomainRef } from '../model/domain.ts';
import { RpcClient } from '../rpc/client/client.ts';
import { dialProgram } from '../rpc/client/transport.ts';
import { addressOf, defaultUri } from './address.ts';
import type { Connection, ConnectOptions, Domain } from './api.ts';
import { eventStream } from './events.ts';
import { domainOf } from './handles.ts';

/** virConnectListAllDomainsFlags. */
const LIST_DOMAINS = { ACTIVE: 0x1, INACTIVE: 0x2 } as const;

/**
 * Connects to the daemon that the URI names: `xen:///system`, `xen+unix:///system?socket=PATH`, `xen+ssh://HOST/system` (by the
 * ssh program and virt-ssh-helper), and `test` for the embedded host in place of `xen`. Default: $LIBVIRT_DEFAULT_URI, or
 * `xen:///system`. Rejects with libvirt's errors if nobody
 * answers (SYSTEM_ERROR), or if the daemon does not let the caller in (AUTH_FAILED, AUTH_UNAVAILABLE).
 */
export async function connect(uri = defaultUri(process.env), options: ConnectOptions = {}): Promise<Connection> {
  const { readOnly = false, signal } = options;
  const { command, ...address } = addressOf(uri, readOnly);
  const rpc = await RpcClient.connect({
    ...address,
    readOnly,
    reconnects: false,
    ...(signal && { signal }),
    ...(command && { dial: (stop: AbortSignal) => dialProgram(command, stop) }),
  });
  return connectionOver(rpc, uri);
}

function connectionOver(rpc: RpcClient, uri: string): Connection {
  const closed = new AbortController();
  rpc.onEnd((error) => closed.abort(error));
  const domain = (ref: DomainRef): Domain => domainOf(rpc, ref);
  let watched: Promise<void> | undefined;
  return {
    uri,
    closed: closed.signal,
    getType: () => rpc.getType(),
    daemonStatus: () => rpc.daemonStatus(),
    async listAllDomains({ active, inactive } = {}) {
      const flags = (active ? LIST_DOMAINS.ACTIVE : 0) | (inactive ? LIST_DOMAINS.INACTIVE : 0);
      return (await rpc.listAllDomains(flags)).map(domain);
    },
    lookupByName: async (name) => domain(await rpc.lookupByName(name)),
    lookupByUUID: async (uuid) => domain(await rpc.lookupByUUID(uuid)),
    lookupByID: async (id) => domain(await rpc.lookupByID(id)),
    async events({ signal } = {}) {
      watched ??= rpc.watchBlockJobs();
      await watched;
      return eventStream(rpc, domain, signal);
    },
    async [Symbol.asyncDispose]() {
      rpc[Symbol.dispose]();
    },
  };
}
