/**
 * One error class with libvirt's own codes, so that what a client shows is what libvirt would have shown.
 * Codes, domains and prefixes: libvirt/virterror.h and src/util/virerror.c (virErrorMsgStrings) of libvirt 9.0.
 */

import { getSystemErrorMap } from 'node:util';

/**
 * The kinds of errors: virErrorNumber's value and the text that it puts in front of the detail (`%s` is the detail).
 */
const CODES = {
  INTERNAL_ERROR: { number: 1, format: 'internal error: %s' },
  NO_SUPPORT: { number: 3, format: 'this function is not supported by the connection driver: %s' },
  NO_CONNECT: { number: 5, format: 'no connection driver available for %s' },
  INVALID_ARG: { number: 8, format: 'invalid argument: %s' },
  OPERATION_FAILED: { number: 9, format: 'operation failed: %s' },
  NO_NAME: { number: 21, format: 'missing name information' },
  XML_ERROR: { number: 27, format: 'XML error: %s' },
  DOM_EXIST: { number: 28, format: 'domain %s exists already' },
  OPERATION_DENIED: { number: 29, format: 'operation forbidden: %s' },
  XML_DETAIL: { number: 35, format: '%s' },
  SYSTEM_ERROR: { number: 38, format: '%s' },
  RPC: { number: 39, format: '%s' },
  NO_DOMAIN: { number: 42, format: 'Domain not found: %s' },
  NO_NETWORK: { number: 43, format: 'Network not found: %s' },
  AUTH_FAILED: { number: 45, format: 'authentication failed: %s' },
  OPERATION_INVALID: { number: 55, format: 'Requested operation is not valid: %s' },
  CONFIG_UNSUPPORTED: { number: 67, format: 'unsupported configuration: %s' },
  OPERATION_TIMEOUT: { number: 68, format: 'Timed out during operation: %s' },
  NO_DOMAIN_SNAPSHOT: { number: 72, format: 'Domain snapshot not found: %s' },
  ARGUMENT_UNSUPPORTED: { number: 74, format: 'argument unsupported: %s' },
  SNAPSHOT_REVERT_RISKY: { number: 77, format: 'revert requires force: %s' },
  OPERATION_ABORTED: { number: 78, format: 'operation aborted: %s' },
  AUTH_CANCELLED: { number: 79, format: 'authentication cancelled: %s' },
  NO_DOMAIN_METADATA: { number: 80, format: 'metadata not found: %s' },
  OVERFLOW: { number: 82, format: 'numerical overflow: %s' },
  BLOCK_COPY_ACTIVE: { number: 83, format: 'block copy still active: %s' },
  OPERATION_UNSUPPORTED: { number: 84, format: 'Operation not supported: %s' },
  AGENT_UNRESPONSIVE: { number: 86, format: 'Guest agent is not responding: %s' },
  ACCESS_DENIED: { number: 88, format: 'access denied: %s' },
  XML_INVALID_SCHEMA: { number: 92, format: 'XML document failed to validate against schema: %s' },
  AUTH_UNAVAILABLE: { number: 94, format: 'authentication unavailable: %s' },
  /** An upstream's error whose number is not in this table: the number is in the error's fields. */
  OTHER: { number: 1, format: '%s' },
} as const;

/** Who raised an error: virErrorDomain's values that this project uses. */
const DOMAINS = {
  NONE: 0,
  XML: 5,
  DOM: 6,
  RPC: 7,
  TEST: 12,
  REMOTE: 13,
  STORAGE: 18,
  NETWORK: 19,
  DOMAIN: 20,
  NODEDEV: 22,
  INTERFACE: 26,
  SECRET: 30,
  NWFILTER: 33,
  DOMAIN_SNAPSHOT: 35,
  LIBXL: 41,
  ACCESS: 55,
  POLKIT: 60,
  DOMAIN_CHECKPOINT: 69,
} as const;

/** virErrorNumber by name, without its VIR_ERR_; OTHER if an upstream reported a number that is not known here. */
export type ErrorCode = keyof typeof CODES;
/** virErrorDomain by name, without its VIR_FROM_. */
export type ErrorDomain = keyof typeof DOMAINS;

/** For callers that decide by more than the code. Not sent to clients. */
export type ErrorReason =
  | 'image-in-use'
  | 'image-missing'
  | 'image-is-folder'
  | 'snapshot-gone'
  | 'not-restored'
  | 'save-unfinished'
  | 'device-model-gone'
  | 'agent-lacks-command'
  | 'done-in-part';

/** What an error has besides its code and text. */
export interface LibvirtErrorOptions {
  /** Default `LIBXL`, as every error of libvirt's xen driver. */
  readonly domain?: ErrorDomain;
  readonly cause?: unknown;
  /**
   * Set for errors that libvirt raises with virReportInvalidArg and the like: the text goes out without the code's
   * prefix, and the wire carries the C function and the argument in place of format and detail.
   */
  readonly argument?: { readonly function: string; readonly name: string };
  /** errno of a SYSTEM_ERROR, sent to clients as int1. */
  readonly errno?: number;
  readonly reason?: ErrorReason;
  /** Set for an error that was received over the wire: it is passed on unchanged. */
  readonly received?: ErrorFields;
}

/** The strings and numbers of a virError, as clients can read them one by one (virErrorPtr in virterror.h). */
export interface ErrorFields {
  readonly code: number;
  readonly domain: number;
  readonly message: string;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly int1: number;
  readonly int2: number;
}

/** `detail` is what follows the code's prefix; `message` is the whole line a client prints after `error: `. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';
  readonly code: ErrorCode;
  readonly detail: string;
  readonly fields: ErrorFields;
  readonly reason: ErrorReason | undefined;

  constructor(code: ErrorCode, detail: string, options: LibvirtErrorOptions = {}) {
    const { number, format } = CODES[code];
    const { argument, received } = options;
    const message = received?.message ?? (argument ? detail : format.replace('%s', () => detail));
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = detail;
    this.reason = options.reason;
    this.fields = received ?? {
      code: number,
      domain: DOMAINS[options.domain ?? 'LIBXL'],
      message,
      str1: argument ? argument.function : format,
      str2: argument ? argument.name : detail,
      int1: argument ? 0 : (options.errno ?? -1),
      int2: argument ? 0 : -1,
    };
  }

  /** Who raised it, by libvirt's name; undefined if an upstream has, and its number is not known here. */
  get domain(): ErrorDomain | undefined {
    return (Object.keys(DOMAINS) as ErrorDomain[]).find((name) => DOMAINS[name] === this.fields.domain);
  }
}

/** True for a LibvirtError with one of these codes. */
export function isLibvirtError(error: unknown, ...codes: readonly ErrorCode[]): error is LibvirtError {
  return error instanceof LibvirtError && (codes.length === 0 || codes.includes(error.code));
}

/** True for a LibvirtError with this reason, also for one that adds words to it (its `cause`). */
export function hasReason(error: unknown, reason: ErrorReason): boolean {
  return error instanceof LibvirtError && (error.reason === reason || hasReason(error.cause, reason));
}

/**
 * Any thrown value as a LibvirtError: what is not one is an internal error that keeps its message and its cause. Where
 * closing something has failed after another failure (`await using`), the first failure counts, with the other's
 * message added.
 */
export function asLibvirtError(error: unknown): LibvirtError {
  if (error instanceof LibvirtError) return error;
  // By its name: Node 20 has no such class, and the compiler puts one of its own in its place.
  if ((error as Partial<Error> | undefined)?.name === 'SuppressedError') {
    const { suppressed, error: later } = error as SuppressedError;
    return explained(suppressed, asLibvirtError(later).message);
  }
  const text = (error as Partial<Error> | undefined)?.message ?? String(error);
  return new LibvirtError('INTERNAL_ERROR', text, { cause: error });
}

/** strerror(3), if Node has other words. */
const STRERROR: Readonly<Record<string, string>> = {
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  ENAMETOOLONG: 'File name too long',
};

/** A failed system call as libvirt's virReportSystemError words it: `<text>: <strerror>`, code 38, errno in int1. */
export function systemError(error: unknown, text: string, domain?: ErrorDomain): LibvirtError {
  const { errno = 0, message } = error as NodeJS.ErrnoException;
  const [name = '', words] = getSystemErrorMap().get(errno) ?? [];
  const reason = STRERROR[name] ?? words ?? message;
  const sentence = reason.charAt(0).toUpperCase() + reason.slice(1);
  const options = { errno: Math.abs(errno), cause: error, ...(domain && { domain }) };
  return new LibvirtError('SYSTEM_ERROR', `${text}: ${sentence}`, options);
}

/**
 * An error that an upstream has reported, with its own numbers and texts, whether this project knows its code or not.
 */
export function receivedError(received: ErrorFields): LibvirtError {
  const code = (Object.keys(CODES) as ErrorCode[]).find(
    (key) => key !== 'OTHER' && CODES[key].number === received.code,
  );
  const detail = received.str1?.includes('%s') ? received.str2 : null;
  return new LibvirtError(code ?? 'OTHER', detail ?? received.message, { received });
}

/** The same error, which also says what state things are in. */
export function explained(error: unknown, situation: string): LibvirtError {
  const { code, detail } = asLibvirtError(error);
  return new LibvirtError(code, `${detail} (${situation})`, { cause: error });
}

/** The same error, which also says what of the work is done (reason `done-in-part`). */
export function doneInPart(error: unknown, done?: string): LibvirtError {
  const { code, detail } = asLibvirtError(error);
  const text = done === undefined ? detail : `${detail} (${done})`;
  return new LibvirtError(code, text, { cause: error, reason: 'done-in-part' });
}

/** The same error, with what is still there because undoing failed too: `<error>; left over: <a>; <b>`. */
export function withLeftovers(error: unknown, leftovers: readonly string[]): LibvirtError {
  const known = asLibvirtError(error);
  if (leftovers.length === 0) return known;
  return new LibvirtError(known.code, `${known.detail}; left over: ${leftovers.join('; ')}`, { cause: known });
}

/**
 * Undoes what was done before `cause`, latest first, and returns the error to throw: `cause`, with what is left over.
 */
export async function undoAll(undoSteps: readonly (() => Promise<void>)[], cause: unknown): Promise<LibvirtError> {
  const leftovers: string[] = [];
  for (const undo of undoSteps.toReversed()) {
    await undo().catch((reason: unknown) => leftovers.push(asLibvirtError(reason).detail));
  }
  return withLeftovers(cause, leftovers);
}

/** Runs all steps, also after one has failed. Throws the first failure, with the others' reasons. */
export async function tryAll(steps: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => failures.push(error));
  const [first, ...others] = failures;
  if (failures.length === 0) return;
  if (others.length === 0) throw first;
  const { code, detail } = asLibvirtError(first);
  const details = [detail, ...others.map((error) => asLibvirtError(error).detail)];
  throw new LibvirtError(code, details.join('; '), { cause: first });
}

/** A signal for work that nobody can cancel. A new one for each: listeners do not pile up on a shared one. */
export function neverAborted(): AbortSignal {
  return new AbortController().signal;
}

/** Ends an operation that the client has cancelled. */
export function throwIfCancelled(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof LibvirtError) throw signal.reason;
  throw new LibvirtError('OPERATION_ABORTED', 'cancelled by client', { cause: signal.reason });
}
