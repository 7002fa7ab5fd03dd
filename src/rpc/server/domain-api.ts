/**
 * Domains as the front serves them when no libvirtd stands behind it: the calls that ordinary clients make around the
 * snapshot calls. The embedded host implements it.
 */

import type { DomainRef, DomainSummary } from '../../model/domain.ts';

export interface DomainApi {
  /** virConnectGetType: `Xen`, `TEST`. */
  readonly type: string;
  domains(): readonly DomainSummary[];
  /** By UUID only. NO_DOMAIN where there is none. */
  domain(ref: DomainRef): DomainSummary;
  /** `flags`: virDomainXMLFlags, SECURE and INACTIVE count. */
  xmlDesc(ref: DomainRef, flags: number): Promise<string>;
  /** virDomainDefineXML. */
  define(xml: string): Promise<DomainRef>;
  undefine(ref: DomainRef): Promise<void>;
  /** virDomainRename. */
  rename(ref: DomainRef, name: string): Promise<void>;
  /** virDomainCreateXML: a transient domain, running. */
  createXML(xml: string): Promise<DomainRef>;
  /** virDomainCreate(WithFlags). */
  create(ref: DomainRef, options: { readonly paused: boolean }): Promise<DomainRef>;
  destroy(ref: DomainRef): Promise<void>;
  shutdown(ref: DomainRef): Promise<void>;
  suspend(ref: DomainRef): Promise<void>;
  resume(ref: DomainRef): Promise<void>;
}
