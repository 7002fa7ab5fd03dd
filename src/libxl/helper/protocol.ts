/** The messages between the daemon and its helper process: one operation at a time, by Node's IPC channel. */

import type { FileAt } from '../../files/same-file.ts';

/** Whether libxl can be used here. */
export type Probe =
  | { readonly state: 'ready'; readonly soname: string }
  | { readonly state: 'no-library'; readonly message: string }
  | { readonly state: 'no-xen'; readonly soname: string; readonly message: string };

/** Fields of libxl_dominfo that are used, in libxl-json. An absent one is false, 0 or unknown. */
export interface DomainInfo {
  /** Absent for Domain-0, whose UUID is all zeros. */
  readonly uuid?: string;
  readonly domid?: number;
  readonly running?: boolean;
  readonly paused?: boolean;
  readonly shutdown?: boolean;
  readonly dying?: boolean;
  readonly shutdown_reason?: 'poweroff' | 'reboot' | 'suspend' | 'crash' | 'watchdog' | 'soft_reset';
  readonly current_memkb?: number;
  /** What Xen allows it, with its own tables. */
  readonly max_memkb?: number;
  readonly vcpu_online?: number;
  /** Nanoseconds. */
  readonly cpu_time?: number;
  /** As Xen sees it: PVH is `hvm`, too. */
  readonly domain_type?: 'hvm' | 'pv';
}

/** A domain of a list: with its name, empty while it has none, and the memory that it has. */
export interface DomainName extends DomainInfo {
  readonly domid: number;
  readonly name: string;
  readonly current_memkb: number;
}

/** Fields of libxl_physinfo that are used. */
export interface Physinfo {
  /** Xen is built with shadow paging, without which a PV guest has no log of dirty pages. */
  readonly cap_shadow?: boolean;
  readonly free_pages?: number;
  readonly scrub_pages?: number;
  /** Promised to domains that are being made, and still free. */
  readonly outstanding_pages?: number;
}

/** libxl_domain_config in libxl-json. */
export type DomainConfig = Readonly<Record<string, unknown>>;

/** The state in which an operation that stops a guest may have left it. */
export interface Held {
  /** A suspend was asked for, and no resume has been seen to succeed since. */
  readonly mayBeSuspended: boolean;
  /** We have paused it, or tried to. */
  readonly paused: boolean;
}

/** The helper's operations. Each is one libxl call, or one libxl call with what it takes to clean up after it. */
export interface LibxlOperations {
  probe(): Promise<Probe>;
  /** Null if there is no such domain. */
  domainInfo(domid: number): Promise<DomainInfo | null>;
  listDomains(): Promise<readonly DomainName[]>;
  physinfo(): Promise<Physinfo>;
  /** The options that Xen was booted with. */
  commandLine(): Promise<string>;
  domainConfig(domid: number): Promise<DomainConfig>;
  /** Appends the domain's stream to the file. The domain is suspended in memory afterwards. */
  suspend(domid: number, file: FileAt, live: boolean): Promise<void>;
  pause(domid: number): Promise<void>;
  /** suspend_cancel=1: the guest runs on as if nothing had happened. */
  resume(domid: number): Promise<void>;
  unpause(domid: number): Promise<void>;
  /**
   * After a failure: resumes the guest if it is suspended, or becomes so within a grace time, and unpauses it. Returns
   * the domain as it is then; null if it has gone.
   */
  release(domid: number, held: Held): Promise<DomainInfo | null>;
  /** A new domain, paused, from the stream at `offset` of the file `path`. On an error it is destroyed again. */
  createRestore(config: DomainConfig, path: string, offset: number): Promise<number>;
  /** Only what createRestore of this helper has made. */
  destroy(domid: number): Promise<void>;
}

/** The name of an operation of the helper. */
export type OperationName = keyof LibxlOperations;

/** `quit` ends the helper in order; a channel that closes without it means that the daemon has died. */
export type HelperRequest =
  | { readonly kind: 'call'; readonly id: number; readonly operation: OperationName; readonly args: readonly unknown[] }
  | { readonly kind: 'abort' }
  | { readonly kind: 'quit' };

/** A message from the helper process. */
export type HelperReply =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: HelperFailure };

/** `rc` is libxl's error number; without it the failure is the helper's own. */
export interface HelperFailure {
  readonly message: string;
  readonly rc?: number;
}

/** File descriptor of libxl's log in the helper. */
export const LOG_FD = 3;

/**
 * The helper writes this line into the log when an operation has ended: the lines before it belong to that operation.
 */
export function logMarker(id: number): string {
  return `\x1eend of operation ${id}`;
}
