/** Upstream's events that our own work causes. */

import type { LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports.ts';

/**
 * Clients see none of these events, of this domain, until it is disposed of. What has really happened is told to them
 * afterwards, in an order that does not depend on which of two connections libvirtd serves first.
 */
export function hideEvents(events: LifecycleEvents, uuid: string, kinds: readonly LifecycleEvent[]): Disposable {
  const expected = kinds.map((kind) => events.expect(uuid, kind));
  return {
    [Symbol.dispose]() {
      for (const expectation of expected) expectation[Symbol.dispose]();
    },
  };
}
