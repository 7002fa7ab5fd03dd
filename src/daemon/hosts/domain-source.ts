/** The host's domains for a front (D-Bus) that does not pass calls on to a libvirtd. */

import type { DomainSource } from '../../dbus/objects.ts';
import { refuseUnknownFlags } from '../../model/flags.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { DomainApi } from '../../rpc/server/domain-api.ts';
import { LIST_KNOWN } from '../../rpc/server/domain-calls.ts';
import { passesDomainFilter, passesSnapshotFilter, SNAPSHOT_BITS } from '../../rpc/server/domain-filter.ts';
import { LIBVIRT_VERSION } from '../../rpc/server/standalone.ts';
import type { SnapshotApi } from '../../snapshots/api.ts';
import type { Host } from '../../snapshots/ports/host.ts';

/** Makes the list of domains from the snapshots: some filters are about them. */
export type DomainsOf = (snapshots: SnapshotApi) => DomainSource;

/** Our own domains: those of the embedded host, or of xl. `version`: virConnectGetVersion. */
export function ownDomains(host: Pick<Host, 'lookup'>, api: DomainApi, version: bigint): DomainsOf {
  return (snapshots) => ({
    lookup: (ref) => host.lookup(ref),
    state: (ref) => host.lookup(ref),
    all: async () => (await api.domains()).map(({ ref }) => ref),
    list: async (flags) => {
      refuseUnknownFlags(flags, LIST_KNOWN, 'virConnectListAllDomains');
      const domains = await api.domains();
      const passes = (domain: (typeof domains)[number]): boolean =>
        passesDomainFilter(flags, { ...domain, hasSnapshots: snapshots.count(domain.ref.uuid) > 0 });
      return domains.filter(passes).map(({ ref }) => ref);
    },
    version: async () => version,
    libVersion: async () => LIBVIRT_VERSION,
  });
}

/** The upstream filters by all but snapshots, of which it has none. */
export function upstreamDomains(host: Host, upstream: RpcClient): DomainsOf {
  return (snapshots) => ({
    lookup: (ref) => host.lookup(ref),
    state: (ref) => host.lookup(ref),
    all: () => upstream.listAllDomains(0),
    list: async (flags) => {
      const domains = await upstream.listAllDomains((flags & ~(SNAPSHOT_BITS.HAS | SNAPSHOT_BITS.NO)) >>> 0);
      return domains.filter(({ uuid }) => passesSnapshotFilter(flags, snapshots.count(uuid) > 0));
    },
    version: () => upstream.getVersion(),
    libVersion: () => upstream.getLibVersion(),
  });
}
