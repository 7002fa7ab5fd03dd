/**
 * Decides what a client may send, and when. The same for every connection, proxied or not: nothing that is not allowed
 * here is decoded, carried out or passed on.
 */

import { type ErrorDomain, LibvirtError } from '../../errors.ts';
import { READING, REFUSED_READ_ONLY } from '../wire/daemon-program.ts';
import { type FrameHeader, HEADER_BYTES, KEEPALIVE, PROGRAM, STATUS, TYPE, VERSION } from '../wire/frames.ts';
import { PROCEDURES as P } from '../wire/procedures.ts';
import { ALLOWED } from '../wire/read-only/allowed.ts';
import { FUNCTIONS } from '../wire/read-only/functions.ts';
import { REFUSED } from '../wire/read-only/refused.ts';

/** The state of a connection. */
export interface ConnectionState {
  /** True once the client has been let in. */
  readonly authenticated: boolean;
  /** True once the client's CONNECT_OPEN has succeeded. */
  readonly open: boolean;
  /** True on a read-only socket, or once opened with VIR_CONNECT_RO. */
  readonly readOnly: boolean;
  /** True for a client that may say for whom it calls. */
  readonly forwards: boolean;
}

/**
 * The kinds of frames that a client may send; anything else throws, which ends the connection. A frame of a kind that
 * libvirtd cuts off the stream by another rule than we do (file descriptors) would let a client hide calls in it.
 */
export function frameKind(header: FrameHeader): 'call' | 'stream' | 'ping' | 'pong' {
  const { program, version, procedure, type, status, length } = header;
  if (program === PROGRAM.KEEPALIVE) {
    const fits = version === VERSION && type === TYPE.MESSAGE && status === STATUS.OK && length === HEADER_BYTES;
    if (fits && procedure === KEEPALIVE.PING) return 'ping';
    if (fits && procedure === KEEPALIVE.PONG) return 'pong';
  }
  if (type === TYPE.CALL && program !== PROGRAM.KEEPALIVE) return 'call';
  const isStream = type === TYPE.STREAM || type === TYPE.STREAM_HOLE;
  if (isStream && program === PROGRAM.REMOTE && version === VERSION) return 'stream';
  const text = `a client may not send messages of type ${type} of program ${program}`;
  throw new LibvirtError('RPC', text, { domain: 'RPC' });
}

/** True for CONNECT_OPEN, called or answered. */
export const isOpenCall = ({ program, procedure }: FrameHeader): boolean =>
  program === PROGRAM.REMOTE && procedure === P.CONNECT_OPEN.number;

/** Served before a client has been let in. */
const AUTHENTICATION: ReadonlySet<number> = new Set([
  ALLOWED.AUTH_LIST,
  ALLOWED.AUTH_SASL_INIT,
  ALLOWED.AUTH_SASL_START,
  ALLOWED.AUTH_SASL_STEP,
  ALLOWED.AUTH_POLKIT,
]);

/** Served before CONNECT_OPEN: authentication, and the one question that clients ask before it. */
const BEFORE_OPEN: ReadonlySet<number> = new Set([
  P.CONNECT_OPEN.number,
  P.CONNECT_SUPPORTS_FEATURE.number,
  ...AUTHENTICATION,
]);

/** Returns the reason why a call is refused before it is decoded, in libvirtd's words; undefined if it is not. */
export function callRefusal(header: FrameHeader, connection: ConnectionState): LibvirtError | undefined {
  const { authenticated, open, readOnly } = connection;
  const { program, version, procedure, status } = header;
  const name = version === VERSION ? PROGRAM_NAMES.get(program) : undefined;
  if (!name) return rpcError(`Cannot find program ${program} version ${version}`);
  if (status !== STATUS.OK) return rpcError(`Unexpected message status ${status}`);
  if (!authenticated && !(name === 'REMOTE' && AUTHENTICATION.has(procedure)))
    return rpcError('authentication required');
  if (!open && !(name === 'REMOTE' && BEFORE_OPEN.has(procedure))) {
    return new LibvirtError('INTERNAL_ERROR', 'hypervisor connection not open', { domain: 'RPC' });
  }
  // virtproxyd names with it, on either socket, the user for whom it calls: any other client could claim any identity.
  if (name === 'REMOTE' && procedure === P.CONNECT_SET_IDENTITY.number) {
    const text = 'only a daemon of root may say for whom it calls';
    return connection.forwards ? undefined : new LibvirtError('ACCESS_DENIED', text, { domain: 'RPC' });
  }
  return readOnly ? readOnlyRefusal(name, header) : undefined;
}

/**
 * The refusal of a procedure that is not answered here, as a driver of libvirt without that function words it. Clients fall
 * back on older functions then.
 */
export function notSupported(header: FrameHeader): LibvirtError {
  const program = PROGRAM_NAMES.get(header.program) ?? 'XLSNAP';
  const found = program === 'XLSNAP' ? undefined : functionOf(program, header.procedure);
  if (!found) return unknownProcedure(header);
  return new LibvirtError('NO_SUPPORT', found.call, { domain: found.domain });
}

/** The words matter: libvirt's client makes "not supported" of them, which is what its fallbacks look for. */
export function unknownProcedure({ procedure }: FrameHeader): LibvirtError {
  return rpcError(`unknown procedure: ${procedure}`);
}

type ProgramName = 'REMOTE' | 'QEMU' | 'LXC' | 'XLSNAP';

const PROGRAM_NAMES: ReadonlyMap<number, ProgramName> = new Map([
  [PROGRAM.REMOTE, 'REMOTE'],
  [PROGRAM.QEMU, 'QEMU'],
  [PROGRAM.LXC, 'LXC'],
  [PROGRAM.XLSNAP, 'XLSNAP'],
]);

const ALLOWED_NUMBERS: ReadonlySet<number> = new Set(Object.values(ALLOWED));

/** Fails closed: a procedure that neither table knows does not exist for a read-only connection. */
function readOnlyRefusal(program: ProgramName, header: FrameHeader): LibvirtError | undefined {
  const { procedure } = header;
  if (program === 'REMOTE' && ALLOWED_NUMBERS.has(procedure)) return undefined;
  if (program === 'XLSNAP') {
    if (READING.has(procedure)) return undefined;
    const what = REFUSED_READ_ONLY.get(procedure);
    if (what === undefined) return unknownProcedure(header);
    return new LibvirtError('OPERATION_DENIED', `read only access prevents ${what}`, { domain: 'DOMAIN_SNAPSHOT' });
  }
  const found = callIn(REFUSED[program], procedure);
  if (!found) return unknownProcedure(header);
  return new LibvirtError('OPERATION_DENIED', `read only access prevents ${found.call}`, { domain: found.domain });
}

interface ApiFunction {
  readonly call: string;
  readonly domain: ErrorDomain;
}

/** The function of libvirt's public API behind a procedure; undefined for an event, and for what libvirt does not have. */
function functionOf(program: Exclude<ProgramName, 'XLSNAP'>, procedure: number): ApiFunction | undefined {
  const refused = callIn(REFUSED[program], procedure);
  return refused ?? (program === 'REMOTE' ? callIn(FUNCTIONS, procedure) : undefined);
}

function callIn(table: typeof FUNCTIONS, procedure: number): ApiFunction | undefined {
  for (const [domain, calls] of Object.entries(table)) {
    const call = calls[procedure];
    if (call !== undefined) return { call, domain: domain as ErrorDomain };
  }
  return undefined;
}

function rpcError(detail: string): LibvirtError {
  return new LibvirtError('RPC', detail, { domain: 'RPC' });
}
