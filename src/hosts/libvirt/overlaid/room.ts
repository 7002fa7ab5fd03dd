/**
 * Room for the overlays in a saved image. libvirt's xen driver writes the live definition in front of the memory, and not a
 * byte more; the names of overlays are longer. So the live definition gets a metadata element for the time of the save.
 */

import type { DomainRef } from '../../../model/domain.ts';
import { childElements, type XmlElement, type XmlNode } from '../../../model/element.ts';
import type { Upstream } from '../upstream.ts';

const KEY = 'xlsnap';
const URI = 'urn:xlsnap:room-for-overlays';
const ELEMENT = `${KEY}:room`;
/** Definitions differ by more than their images: libvirt may write some parts otherwise when it saves. */
const SPARE_BYTES = 1024;

/** Makes room for so many bytes more; disposing takes it out of the live definition of a domain that still runs. */
export async function makeRoom(upstream: Upstream, domain: DomainRef, bytes: number): Promise<AsyncDisposable> {
  const xml = `<room>${'x'.repeat(Math.max(bytes, 0) + SPARE_BYTES)}</room>`;
  await upstream.setLiveMetadata(domain, { xml, key: KEY, uri: URI });
  return { [Symbol.asyncDispose]: () => removeRoom(upstream, domain) };
}

/** Accepts that there is none, and that the domain has ended. */
export async function removeRoom(upstream: Upstream, domain: DomainRef): Promise<void> {
  await upstream.setLiveMetadata(domain, { xml: null, key: KEY, uri: URI }).catch(() => undefined);
}

/** The same definition without the room, and without a `<metadata>` that held nothing else. */
export function withoutRoom(domain: XmlElement): XmlElement {
  const children = domain.children.flatMap((child): readonly XmlNode[] => {
    if (typeof child === 'string' || child.name !== 'metadata') return [child];
    const others = childElements(child).filter(({ name }) => name !== ELEMENT);
    if (others.length === childElements(child).length) return [child];
    return others.length === 0 ? [] : [{ ...child, children: others }];
  });
  return { ...domain, children };
}
