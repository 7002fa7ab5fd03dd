/**
 * The connection to libvirtd as the libvirt host needs it: libvirt's calls by libvirt's names, rejecting with
 * LibvirtError. The RPC client is one such connection; the daemon passes it to the host.
 */

import type { DomainRef, DomainState, NetworkRef, StorageVolume } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';

/** A connection to the libvirtd that owns the domains. */
export interface Upstream {
  /** The user who runs it: the owner of its socket. */
  socketOwner(): Promise<number>;
  /** True if it sees the same processes under /proc as this one. */
  sharesProcesses(): Promise<boolean>;
  /** `Xen`, `QEMU`, `TEST`. */
  getType(): Promise<string>;
  /** The document. */
  getCapabilities(): Promise<string>;
  listAllDomains(): Promise<readonly DomainRef[]>;
  lookupByUUID(uuid: string): Promise<DomainRef>;
  getState(domain: DomainRef): Promise<DomainState>;
  /** Memory in KiB. */
  getInfo(domain: DomainRef): Promise<{ readonly memory: bigint }>;
  /** Of the host, bytes. */
  getFreeMemory(): Promise<bigint>;
  /** NO_NETWORK if there is none. */
  networkLookupByName(name: string): Promise<NetworkRef>;
  networkIsActive(network: NetworkRef): Promise<boolean>;
  isPersistent(domain: DomainRef): Promise<boolean>;
  getXMLDesc(domain: DomainRef, flags: number): Promise<string>;
  defineXML(xml: string): Promise<DomainRef>;
  undefine(domain: DomainRef): Promise<void>;
  createXML(xml: string, flags: number): Promise<DomainRef>;
  createWithFlags(domain: DomainRef, flags: number): Promise<DomainRef>;
  destroy(domain: DomainRef): Promise<void>;
  suspend(domain: DomainRef): Promise<void>;
  resume(domain: DomainRef): Promise<void>;
  saveFlags(domain: DomainRef, to: string, flags: number): Promise<void>;
  managedSave(domain: DomainRef): Promise<void>;
  /** Sets a metadata element of an active domain; `xml` null removes it. */
  setLiveMetadata(
    domain: DomainRef,
    element: { readonly xml: string | null; readonly key: string; readonly uri: string },
  ): Promise<void>;
  restoreFlags(from: string, flags: number): Promise<void>;
  saveImageGetXMLDesc(file: string, flags: number): Promise<string>;
  saveImageDefineXML(file: string, xml: string, flags: number): Promise<void>;
  /** Of a volume of a pool that is not on this host, a name that is no absolute path. */
  volumePath(volume: StorageVolume): Promise<string>;
  hasManagedSaveImage(domain: DomainRef): Promise<boolean>;
  managedSaveRemove(domain: DomainRef): Promise<void>;
  /** The type is virDomainJobType's number; 0 if no job runs. */
  getJobStats(domain: DomainRef, flags: number): Promise<{ readonly type: number }>;
  pmSuspendForDuration(domain: DomainRef, target: number): Promise<void>;
  pmWakeup(domain: DomainRef): Promise<void>;
  onLifecycle(listener: (domain: DomainRef, event: LifecycleEvent) => void): void;
}

/** VIR_DOMAIN_SAVE_PAUSED. */
export const SAVE_PAUSED = 4;
/** VIR_DOMAIN_SAVE_IMAGE_XML_SECURE. */
export const SAVE_IMAGE_SECURE = 1;
/** VIR_DOMAIN_START_PAUSED. */
export const START_PAUSED = 1;
/** VIR_NODE_SUSPEND_TARGET_MEM. */
export const SUSPEND_TARGET_MEM = 0;
