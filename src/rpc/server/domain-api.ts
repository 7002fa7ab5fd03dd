/**
 * Domains for the server if there is no upstream libvirtd: the calls that ordinary clients make besides the snapshot
 * calls. The embedded host and the xl host implement it.
 */

import type { DomainRef, DomainSummary } from '../../model/domain.ts';
import type { GuestKind } from './node-info.ts';

/** Every function rejects with a LibvirtError. */
export interface DomainApi {
  /** virConnectGetType: `Xen`, `TEST`. */
  readonly type: string;
  /** For virConnectGetCapabilities: software asks there whether a domain's type and machine are known. */
  readonly guests: readonly GuestKind[];
  domains(): Promise<readonly DomainSummary[]>;
  /** Finds a domain by UUID. NO_DOMAIN if there is none. */
  domain(ref: DomainRef): Promise<DomainSummary>;
  /** `flags`: virDomainXMLFlags, of which SECURE and INACTIVE have an effect. */
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
  /** Asks the guest to shut down. */
  shutdown(ref: DomainRef): Promise<void>;
  /** Asks the guest to reboot. */
  reboot(ref: DomainRef): Promise<void>;
  suspend(ref: DomainRef): Promise<void>;
  resume(ref: DomainRef): Promise<void>;
  /** virDomainRestoreFlags; absent: the host does not restore. */
  restore?(path: string, options: { readonly paused: boolean }): Promise<void>;
  /** virDomainManagedSaveRemove; absent: its domains have no managed saves that could be removed. Accepts that there is none. */
  removeManagedSave?(ref: DomainRef): Promise<void>;
}
