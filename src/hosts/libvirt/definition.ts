/** Reads a domain's definition from libvirtd, in inactive format. */

import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../model/domain.ts';
import { XML } from '../../model/flags.ts';
import type { LiveDisks } from '../../snapshots/ports/store.ts';
import { definitionOf, parseDefinition, withDiskImages } from '../../xml/domain/definition.ts';
import { parseDomain } from '../../xml/domain/domain.ts';
import { inactiveFormat } from '../../xml/domain/formats.ts';
import type { Upstream } from './upstream.ts';

/** virConnectGetType of the driver that completes a running guest's CPU, and saves it by what the CPU was before. */
const QEMU = 'QEMU';

/**
 * `live` as the domain runs now, `persistent` as it would start next; with passwords. In the qemu driver's form for
 * saved images and snapshots (VIR_DOMAIN_XML_MIGRATABLE): it takes no other one back.
 */
export async function domainDefinition(
  upstream: Upstream,
  domain: Domain,
  which: 'live' | 'persistent',
): Promise<DomainDefinition> {
  if (which === 'live' && isActive(domain)) {
    const flags = XML.SECURE | ((await upstream.getType()) === QEMU ? XML.MIGRATABLE : 0);
    return definitionOf(inactiveFormat(parseDomain(await upstream.getXMLDesc(domain.ref, flags))));
  }
  return parseDefinition(await upstream.getXMLDesc(domain.ref, XML.SECURE | XML.INACTIVE));
}

/** The live definition with the active images. */
export async function liveDefinition(
  upstream: Upstream,
  liveDisks: Pick<LiveDisks, 'of'>,
  domain: Domain,
): Promise<DomainDefinition> {
  return onActiveImages(await domainDefinition(upstream, domain, 'live'), domain.ref, liveDisks);
}

/** The same for a definition as libvirtd shows it. */
export function onActiveImages(
  shown: DomainDefinition,
  ref: DomainRef,
  liveDisks: Pick<LiveDisks, 'of'>,
): DomainDefinition {
  return withDiskImages(shown, liveDisks.of(ref, shown.disks));
}
