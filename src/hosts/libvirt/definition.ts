/** A domain's definition from libvirtd, in inactive format. */

import { type Domain, type DomainDefinition, isActive } from '../../model/domain.ts';
import { XML } from '../../model/flags.ts';
import { definitionOf, parseDefinition } from '../../xml/domain/definition.ts';
import { parseDomain } from '../../xml/domain/domain.ts';
import { inactiveFormat } from '../../xml/domain/formats.ts';
import type { Upstream } from './upstream.ts';

/** `live` as the domain runs now, `persistent` as it would start next; with passwords. */
export async function domainDefinition(
  upstream: Upstream,
  domain: Domain,
  which: 'live' | 'persistent',
): Promise<DomainDefinition> {
  if (which === 'live' && isActive(domain)) {
    return definitionOf(inactiveFormat(parseDomain(await upstream.getXMLDesc(domain.ref, XML.SECURE))));
  }
  return parseDefinition(await upstream.getXMLDesc(domain.ref, XML.SECURE | XML.INACTIVE));
}
