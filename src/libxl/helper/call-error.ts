/** Turns a failed call of the helper into the error for a client of libvirt. */

import { LibvirtError } from '../../errors.ts';
import { ERROR_DOMAIN_NOTFOUND } from './bindings.ts';
import type { HelperFailure, OperationName, Probe } from './protocol.ts';

/** libvirt's words for what could not be done (libxl_driver.c, libxl_domain.c). */
const FAILURES: Readonly<Record<OperationName, string>> = {
  probe: 'Failed to start libxenlight',
  domainInfo: "libxl_domain_info failed for domain '%d'",
  listDomains: 'libxl_list_domain failed',
  physinfo: 'libxl_get_physinfo failed',
  commandLine: 'libxl_get_version_info failed',
  domainConfig: "libxl_retrieve_domain_configuration failed for domain '%d'",
  suspend: "Failed to save domain '%d' with libxenlight",
  pause: "Failed to suspend domain '%d' with libxenlight",
  resume: "Failed to resume domain '%d' with libxenlight",
  unpause: "Failed to resume domain '%d' with libxenlight",
  release: "Failed to resume domain '%d' with libxenlight",
  createRestore: 'libxenlight failed to restore domain',
  destroy: "Failed to destroy domain '%d'",
};

/** `libxl: error: libxl_dom_suspend.c:397:…: Domain 5:…`, `xc: error: …` */
const ERROR_LINE = /^\S+: (?:error|critical): /;

/** The error of a call, in libvirt's words and then in libxl's own: its log is often the only diagnosis. */
export function callError(
  operation: OperationName,
  target: unknown,
  failure: HelperFailure,
  log: readonly string[],
  signal?: AbortSignal,
): LibvirtError {
  if (signal?.aborted) return cancelled(signal);
  if (failure.rc === ERROR_DOMAIN_NOTFOUND) {
    return new LibvirtError('NO_DOMAIN', `no domain with matching id '${target}'`);
  }
  const words = log.filter((line) => ERROR_LINE.test(line));
  // Without an rc the failure is not libxl's, and its message says what the log cannot.
  if (failure.rc === undefined || words.length === 0) words.unshift(failure.message);
  return new LibvirtError('INTERNAL_ERROR', `${FAILURES[operation].replace('%d', `${target}`)}: ${words.join('; ')}`);
}

/** A probe that failed says which interface of Xen could not be opened. */
export function withLog(operation: OperationName, value: unknown, log: readonly string[]): unknown {
  if (operation !== 'probe' || (value as Probe).state !== 'no-xen') return value;
  const probe = value as Extract<Probe, { state: 'no-xen' }>;
  return { ...probe, message: [probe.message, ...log.filter((line) => ERROR_LINE.test(line))].join('; ') };
}

/** An operation that its client has given up. */
export function cancelled(signal: AbortSignal): LibvirtError {
  if (signal.reason instanceof LibvirtError) return signal.reason;
  return new LibvirtError('OPERATION_ABORTED', 'cancelled by client', { cause: signal.reason });
}
