/** The parts of a proxied connection, and what the handling of its calls may do with it. */

import type { Acl, Judge } from '../../access/acl.ts';
import type { Authentication, Entries } from '../../access/authentication.ts';
import type { ProcessSubject } from '../../access/caller.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import type { DomainRef, DomainState } from '../../model/domain.ts';
import type { BlockApi, GuestApi, SaveApi, SaveImageApi, SnapshotApi } from '../../snapshots/api.ts';
import type { EventClient, LifecycleHub } from '../server/lifecycle-hub.ts';
import type { FrameHeader } from '../wire/frames.ts';

/** Options of a proxy; `Socket` paths are absolute. */
export interface ProxyOptions {
  /** Socket of the upstream libvirtd. */
  readonly upstream: string;
  /** Returns the upstream's socket for a client of our read-only one; it is opened with VIR_CONNECT_RO. */
  readonly upstreamReadOnly: () => string;
  /** The URI that is opened, whatever URI the client names. */
  readonly upstreamUri?: string;
  /** Has a socket take this many bytes before its writer waits. */
  readonly sendBuffer: (fd: number, bytes: number) => void;
  /** How clients are let in; absent: everybody who could connect is. */
  readonly entries?: Entries;
  /** Judges the calls that are answered here, if the upstream judges its own; absent: nobody does. */
  readonly acl?: Acl;
  readonly snapshots: SnapshotApi;
  /** Block jobs, which the xen driver of libvirt does not have; absent: the upstream is asked. */
  readonly blocks?: BlockApi;
  /** Calls to guests' agents, the same. */
  readonly guests?: GuestApi;
  /** Saves of domains on overlays that the upstream does not know; absent: there are none. */
  readonly saves?: SaveApi;
  /** Images of saved domains, of which the xen driver of libvirt has no calls; absent: the upstream is asked. */
  readonly saveImages?: SaveImageApi;
  readonly hub: LifecycleHub;
  /** Running domains whose active images are not those that the upstream knows. */
  readonly overlaid: OverlaidDomains;
  /** Domains whose state has another reason than the upstream knows. */
  readonly reverted: RevertedDomains;
  readonly status: DaemonStatus;
}

/** Domains on overlays that the upstream does not know. */
export interface OverlaidDomains {
  /** Returns false if there are none. */
  any(): boolean;
  has(uuid: string): boolean;
  /** Returns the upstream's live definition of one of them, with its active images. */
  definition(xml: string): string;
  /** Refuses (55), with the way out, to make a domain transient that would start again on its base images by itself. */
  checkUndefine(domain: DomainRef): Promise<void>;
  /** Refuses (55), with the way out, a domain on overlays: the other host would start it on its base images. */
  checkMigrate(domain: DomainRef): Promise<void>;
  /** Forgets overlays of disks that the domain does not have any more. */
  devicesChanged(domain: DomainRef): Promise<void>;
}

/** Domains that are in the state in which a revert has left them. */
export interface RevertedDomains {
  /** False while there are none. */
  any(): boolean;
  /** Returns the reason for the state that the upstream reports; undefined if its own is right. */
  reason(uuid: string, state: DomainState | undefined): number | undefined;
}

/** The connection, as the handling of a call sees it. */
export interface ProxyContext {
  /** True once the client's CONNECT_OPEN has succeeded. */
  open: boolean;
  /** True on a read-only socket, or once opened with VIR_CONNECT_RO. */
  readOnly: boolean;
  readonly authentication: Authentication;
  /** What `qemu:///system` means on its socket; undefined: itself. */
  readonly qemuSystem: string | undefined;
  /** Absent if this client may do all that its socket allows. */
  readonly judge: Judge | undefined;
  /** True for root's daemons, which may say for whom they call: virtproxyd does. */
  readonly forwards: boolean;
  readonly events: EventClient;
  /** Has the upstream know for whom it is asked from now on. Rejects if it does not take that. */
  forwardIdentity(): Promise<void>;
  /** Has this client judged as the one whom it names; undefined: as somebody who may do nothing that is judged. */
  actFor(subject: ProcessSubject | undefined): void;
  toClient(frame: Buffer): void;
  /** Sends a call to the upstream. A successful reply goes through `then` on its way to the client. */
  toUpstream(
    call: FrameHeader,
    frame: Buffer,
    then?: (reply: FrameHeader, frame: Buffer) => Promise<Buffer> | Buffer,
  ): void;
}
