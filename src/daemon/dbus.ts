/** Connects the D-Bus front with the snapshots and domains that it serves and the events that it signals. */

import type { Callers } from '../dbus/callers.ts';
import type { DomainSource } from '../dbus/objects.ts';
import type { DomainRef } from '../model/domain.ts';
import type { LifecycleEvent } from '../model/events.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { LifecycleHub } from '../rpc/server/lifecycle-hub.ts';
import { decodePayload } from '../rpc/wire/frames.ts';
import { lifecycleMessage } from '../rpc/wire/messages.ts';
import type { SnapshotService } from '../snapshots/service.ts';
import type { Opened } from './disposables.ts';
import type { Log } from './log.ts';

interface DbusWiring {
  /** `system`, `session`, or the address of a bus. */
  readonly bus: string;
  /** The URI that is served: libvirt-dbus' object paths name its driver. */
  readonly uri: string;
  readonly domains: DomainSource;
  readonly snapshots: SnapshotService;
  readonly hub: LifecycleHub;
  readonly upstream?: RpcClient;
  readonly callers: Callers;
  readonly log: Log;
}

/** Serves on the bus until disposed of. The D-Bus library is loaded only here, if a bus is asked for. */
export async function openDbus(
  { bus, uri, domains, snapshots, hub, upstream, callers, log }: DbusWiring,
  opened: Opened,
): Promise<void> {
  const { DbusFront } = await import('../dbus/front.ts');
  const { placesOf } = await import('../dbus/paths.ts');
  const places = placesOf(uri.startsWith('xen:') ? 'Xen' : 'Test');
  const front = opened.use(await DbusFront.open({ bus, served: { places, domains, snapshots }, callers, log }));
  if (!callers.mayHear) return;
  snapshots.onChange((change) => front.snapshotChanged(change));
  opened.use(hearLifecycle(hub, upstream, (domain, event) => front.domainEvent(domain, event)));
}

/** The front is one more client of the hub: it gets the same events as other clients. */
function hearLifecycle(
  hub: LifecycleHub,
  upstream: RpcClient | undefined,
  tell: (domain: DomainRef, event: LifecycleEvent) => void,
): Disposable {
  const callbackID = 0;
  const client = hub.attach((frame) => {
    const { domain, event, detail } = decodePayload(lifecycleMessage, frame);
    tell(domain, { event, detail });
  });
  client.register(callbackID, undefined);
  upstream?.onLifecycle((domain, event) => {
    const seen = client.translate({ callbackID, domain, ...event });
    if (seen) tell(domain, seen);
  });
  return client;
}
