/** Hides the events that our own calls cause in libvirtd. */

import type { LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';

/**
 * Hides these events of this domain from clients until disposed of. The caller emits the events that clients shall see
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
