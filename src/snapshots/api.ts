/** libvirt's snapshot API as the fronts call it: one function per virDomainSnapshot* call, flags as libvirt's bits. */

import type { BlockInfo, BlockJobKind } from '../model/blocks/block-job.ts';
import type { DomainRef } from '../model/domain.ts';
import type { FileSystem, GuestFact, GuestTime, GuestVcpu, PowerAction } from '../model/guests/agent.ts';
import type { SnapshotRow } from '../model/snapshot.ts';
import type { ActiveJob, CompletedJob, JobReport } from './jobs.ts';

export type { ActiveJob, CompletedJob, JobReport } from './jobs.ts';

/** Identifies a snapshot in calls. */
export interface SnapshotRef {
  readonly name: string;
  readonly domain: DomainRef;
}

/** A change of a domain's snapshots, for listeners. The metadata has been written before. */
export type SnapshotChange =
  | { readonly kind: 'created' | 'deleted' | 'reverted'; readonly domain: DomainRef; readonly name: string }
  | { readonly kind: 'job'; readonly domain: DomainRef; readonly job: JobReport };

/**
 * Every function rejects with a LibvirtError only. Domains are found by UUID. Flag bits that a call does not know are
 * refused with INVALID_ARG, as libvirt's drivers do; what libvirt's public API checks (exclusions between flags) is
 * checked here again, since not every client is libvirt.so. See
 * https://libvirt.org/html/libvirt-libvirt-domain-snapshot.html
 */
export interface SnapshotApi {
  createXML(domain: DomainRef, xml: string, flags: number): Promise<SnapshotRef>;
  /**
   * Refuses what `createXML` would refuse, and returns the document that it would store, without passwords. Changes nothing.
   * Not for redefinitions.
   */
  checkCreate(domain: DomainRef, xml: string, flags: number): Promise<string>;
  getXMLDesc(snapshot: SnapshotRef, flags: number): Promise<string>;
  num(domain: DomainRef, flags: number): Promise<number>;
  listNames(domain: DomainRef, flags: number): Promise<readonly string[]>;
  listAll(domain: DomainRef, flags: number): Promise<readonly SnapshotRef[]>;
  lookupByName(domain: DomainRef, name: string, flags: number): Promise<SnapshotRef>;
  hasCurrent(domain: DomainRef, flags: number): Promise<boolean>;
  current(domain: DomainRef, flags: number): Promise<SnapshotRef>;
  getParent(snapshot: SnapshotRef, flags: number): Promise<SnapshotRef>;
  numChildren(snapshot: SnapshotRef, flags: number): Promise<number>;
  listChildrenNames(snapshot: SnapshotRef, flags: number): Promise<readonly string[]>;
  listAllChildren(snapshot: SnapshotRef, flags: number): Promise<readonly SnapshotRef[]>;
  isCurrent(snapshot: SnapshotRef, flags: number): Promise<boolean>;
  hasMetadata(snapshot: SnapshotRef, flags: number): Promise<boolean>;
  revert(snapshot: SnapshotRef, flags: number): Promise<void>;
  delete(snapshot: SnapshotRef, flags: number): Promise<void>;

  /** Protects a snapshot from being deleted, or ends that (`on`: false). Refuses (55) one that is deleted in part. */
  setProtected(snapshot: SnapshotRef, on: boolean): Promise<void>;
  /** Returns the names of the protected snapshots. */
  listProtected(domain: DomainRef): Promise<readonly string[]>;
  /** Returns what a list shows of every snapshot, from memory. */
  listRows(domain: DomainRef): Promise<readonly SnapshotRow[]>;

  /** Snapshots known of this domain, without asking the host: for filters of domain lists. */
  count(uuid: string): number;
  /** Returns the job that runs on this domain now. */
  job(uuid: string): ActiveJob | undefined;
  /** Returns the last completed job on this domain, once; with `keep` again at the next call. */
  completedJob(uuid: string, keep: boolean): CompletedJob | undefined;
  /**
   * Refuses (55) to undefine a domain that has protected snapshots, and an inactive one that has any, unless `metadata` is
   * set. Waits for a running job, as jobs wait for each other.
   */
  checkUndefine(domain: DomainRef, metadata: boolean): Promise<void>;
  /**
   * Forgets all metadata of a domain that the host no longer knows; one that still runs keeps it. Images are not
   * touched.
   */
  forget(uuid: string): Promise<void>;
}

/** virDomainBlockJobInfo; `cur` and `end` are equal only if all is copied. */
export interface BlockJobInfo {
  readonly kind: BlockJobKind;
  /** MiB or bytes a second, as asked for. */
  readonly bandwidth: bigint;
  readonly cur: bigint;
  readonly end: bigint;
}

/** libvirt's calls that the guest's agent answers. */
export interface GuestApi {
  /** Freezing and thawing return the number of file systems. */
  freeze(domain: DomainRef, mountpoints: readonly string[], flags: number): Promise<number>;
  thaw(domain: DomainRef, mountpoints: readonly string[], flags: number): Promise<number>;
  /** virDomainQemuAgentCommand. `timeout`: seconds, or one of virDomainQemuAgentCommandTimeoutValues. */
  agentCommand(domain: DomainRef, json: string, timeout: number, flags: number): Promise<string>;
  time(domain: DomainRef, flags: number): Promise<GuestTime>;
  setTime(domain: DomainRef, time: GuestTime, flags: number): Promise<void>;
  fileSystems(domain: DomainRef, flags: number): Promise<readonly FileSystem[]>;
  /** virDomainGetGuestInfo. */
  information(domain: DomainRef, types: number, flags: number): Promise<readonly GuestFact[]>;
  vcpus(domain: DomainRef, flags: number): Promise<readonly GuestVcpu[]>;
  /** virDomainSetGuestVcpus. `state`: 1 takes them into use, 0 out of it. */
  setVcpus(domain: DomainRef, cpumap: string, state: number, flags: number): Promise<void>;
  /** virDomainShutdownFlags and virDomainReboot with GUEST_AGENT. */
  power(domain: DomainRef, mode: PowerAction): Promise<void>;
}

/** libvirt's saves of domains that xlsnapd saves itself. */
export interface SaveApi {
  /** virDomainSaveFlags. */
  save(
    domain: DomainRef,
    request: { readonly to: string; readonly dxml: string | null; readonly flags: number },
  ): Promise<void>;
  managedSave(domain: DomainRef, flags: number): Promise<void>;
}

/** libvirt's calls about the definitions in images of saved domains. */
export interface SaveImageApi {
  /** The domain whose image the file is, as the image has it. */
  owner(path: string): Promise<DomainRef>;
  /** virDomainSaveImageGetXMLDesc. */
  xmlDesc(path: string, flags: number): Promise<string>;
  /** virDomainSaveImageDefineXML. */
  defineXML(path: string, xml: string, flags: number): Promise<void>;
  /** virDomainManagedSaveGetXMLDesc. */
  managedXMLDesc(domain: DomainRef, flags: number): Promise<string>;
  /** virDomainManagedSaveDefineXML. */
  managedDefineXML(domain: DomainRef, xml: string, flags: number): Promise<void>;
}

/** The image that a disk is copied to. */
export interface CopyDestination {
  readonly path: string;
  /** QEMU's name; absent: that of the disk, or of an image that is there. */
  readonly format?: string | undefined;
  /** The client says that it is a block device. */
  readonly block: boolean;
}

/** The arguments of virDomainBlockCopy besides the domain. */
export interface CopyRequest {
  readonly disk: string;
  /** As `<disk>` document, or as its parts. */
  readonly destination: string | CopyDestination;
  readonly flags: number;
  /** A second at most; 0: unlimited. */
  readonly bandwidth: bigint;
  /** The bandwidth is in bytes, not in MiB. */
  readonly bytes: boolean;
  /** Bytes; 0: QEMU's own. */
  readonly granularity: number;
  readonly bufferSize: bigint;
}

/** libvirt's API of block jobs and block devices, one function per call. `disk`: a target, or the path of an image. */
export interface BlockApi {
  commit(
    domain: DomainRef,
    request: {
      readonly disk: string;
      readonly top: string | undefined;
      readonly base: string | undefined;
      readonly flags: number;
    },
    bandwidth: bigint,
  ): Promise<void>;
  /** virDomainBlockPull, and with `base` virDomainBlockRebase. */
  pull(
    domain: DomainRef,
    request: { readonly disk: string; readonly base?: string | undefined; readonly flags: number },
    bandwidth: bigint,
  ): Promise<void>;
  /** virDomainBlockCopy, and virDomainBlockRebase as a copy. */
  copy(domain: DomainRef, request: CopyRequest): Promise<void>;
  /** Undefined if the disk has no job. */
  jobInfo(domain: DomainRef, disk: string, flags: number): Promise<BlockJobInfo | undefined>;
  abort(domain: DomainRef, disk: string, flags: number): Promise<void>;
  setSpeed(domain: DomainRef, disk: string, bandwidth: bigint, flags: number): Promise<void>;
  blockInfo(domain: DomainRef, disk: string, flags: number): Promise<BlockInfo>;
  /** `size`: KiB, or bytes if a flag says so. */
  resize(domain: DomainRef, disk: string, size: bigint, flags: number): Promise<void>;
}
