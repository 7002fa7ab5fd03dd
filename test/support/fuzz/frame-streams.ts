/** Streams of frames as a client might send them, what the proxy passes on of them, and what libvirtd would see of that. */

import type { Socket } from 'node:net';
import { Authentication } from '../../../src/access/authentication.ts';
import { isLibvirtError, LibvirtError, neverAborted } from '../../../src/errors.ts';
import { ClientCalls } from '../../../src/rpc/proxy/client-calls.ts';
import { proxyCalls } from '../../../src/rpc/proxy/proxy-calls.ts';
import type { ProxyContext } from '../../../src/rpc/proxy/proxy-context.ts';
import { blockAnswers } from '../../../src/rpc/server/calls/block-calls.ts';
import { guestAnswers, qemuAnswers } from '../../../src/rpc/server/calls/guest-calls.ts';
import { daemonAnswers } from '../../../src/rpc/server/daemon-calls.ts';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import { snapshotAnswers } from '../../../src/rpc/server/snapshot-calls.ts';
import { FrameOutlet } from '../../../src/rpc/wire/frame-outlet.ts';
import { FrameSplitter, type Wanted } from '../../../src/rpc/wire/frame-splitter.ts';
import { encodeFrame, FRAME_MAX, type FrameHeader, HEADER_BYTES, PROGRAM, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES as P, type Procedure } from '../../../src/rpc/wire/procedures.ts';
import { AGENT_COMMAND } from '../../../src/rpc/wire/qemu-program.ts';
import type { BlockApi, GuestApi } from '../../../src/snapshots/api.ts';
import { FAKE_STATUS, MemorySnapshots, NOTHING_ELSE } from '../fakes/snapshots-in-memory.ts';

type Random = (limit: number) => number;

const call = <A>({ number, args }: Procedure<A, unknown>, value: A, program: number = PROGRAM.REMOTE): Buffer =>
  encodeFrame({ procedure: number, type: TYPE.CALL, serial: 0, program }, args, value);
const domain = { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };

/** Calls that a client makes, for mutation. */
export const CALL_FRAMES: readonly Buffer[] = [
  call(P.CONNECT_GET_TYPE, undefined),
  call(P.DOMAIN_LOOKUP_BY_NAME, { name: 'test' }),
  call(P.DOMAIN_GET_STATE, { domain, flags: 0 }),
  call(P.DOMAIN_GET_XML_DESC, { domain, flags: 1 }),
  call(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 2 }),
  call(P.DOMAIN_SUSPEND, { domain }),
  call(P.DOMAIN_DEFINE_XML, { xml: '<domain/>' }),
];
const GRANULARITY = { field: 'granularity', type: 'uint', value: 65_536 } as const;
const SEEDS: readonly Buffer[] = [
  ...CALL_FRAMES,
  call(P.CONNECT_OPEN, { name: 'test:///default', flags: 0 }),
  call(P.CONNECT_SUPPORTS_FEATURE, { feature: 15 }),
  call(P.CONNECT_LIST_ALL_DOMAINS, { needResults: 1, flags: 0xc00 }),
  call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: '<domainsnapshot/>', flags: 0 }),
  call(P.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, { domain, name: 's1', flags: 0 }),
  call(P.DOMAIN_BLOCK_COMMIT, { domain, disk: 'xvda', base: null, top: null, bandwidth: 0n, flags: 4 }),
  call(P.DOMAIN_BLOCK_COPY, { domain, disk: 'xvda', destxml: '<disk/>', params: [GRANULARITY], flags: 0 }),
  call(P.DOMAIN_FSFREEZE, { domain, mountpoints: ['/', '/srv'], flags: 0 }),
  call(AGENT_COMMAND, { domain, cmd: '{"execute":"guest-ping"}', timeout: -1, flags: 0 }, PROGRAM.QEMU),
];
const PROGRAMS = [...Object.values(PROGRAM), 1, 0xffff_ffff];
const LENGTHS = [0, 3, 4, 27, 28, 31, 32, FRAME_MAX, FRAME_MAX + 1, 0x7fff_ffff, 0xffff_ffff];
const PROCEDURE_NUMBERS = Object.values(P).map(({ number }) => number);

const of = <T>(random: Random, from: readonly T[]): T => from[random(from.length)] as T;

/** A frame that is hardly one: of another kind, with another frame behind its arguments or in place of some. */
function frame(random: Random, serial: number): Buffer {
  const behind =
    random(3) === 0 ? of(random, [...SEEDS, Buffer.alloc(4), Buffer.from([0]), Buffer.alloc(32, 1)]) : Buffer.alloc(0);
  const bytes = Buffer.concat([of(random, SEEDS), behind]);
  if (random(4) > 0) bytes.writeUInt32BE(bytes.length, 0);
  if (random(12) === 0) bytes.writeUInt32BE(of(random, LENGTHS), 0);
  if (random(8) === 0) bytes.writeUInt32BE(of(random, PROGRAMS), 4);
  if (random(20) === 0) bytes.writeUInt32BE(random(3), 8);
  if (random(4) === 0) bytes.writeInt32BE(random(4) === 0 ? -1 : of(random, PROCEDURE_NUMBERS), 12);
  if (random(6) === 0) bytes.writeUInt32BE(random(9), 16);
  bytes.writeUInt32BE(serial, 20);
  if (random(10) === 0) bytes.writeUInt32BE(random(4), 24);
  if (random(3) === 0 && bytes.length > HEADER_BYTES) {
    bytes[HEADER_BYTES + random(bytes.length - HEADER_BYTES)] = random(256);
  }
  return bytes;
}

/** One connection's bytes after it was opened, in the pieces in which they come. */
export function frameStream(random: Random): readonly Buffer[] {
  const frames = Array.from({ length: 1 + random(10) }, (_, n) => frame(random, 100 + n));
  const whole = Buffer.concat(frames);
  const bytes = random(8) === 0 ? whole.subarray(0, random(whole.length)) : whole;
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = of(random, [1, 3, 4, 27, 28, 29, 1 + random(200), bytes.length]);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

const name = ({ serial, program, procedure }: FrameHeader): string => `${serial}: ${program}/${procedure}`;

/** What comes through: the bytes for the upstream, and the calls in them as the proxy has understood them. */
interface Passed {
  readonly bytes: Buffer;
  readonly calls: readonly string[];
}

const snapshots = new MemorySnapshots(new LifecycleHub());
/** Block jobs and agents of no domain. */
const nowhere = new Proxy(
  {},
  { get: () => () => Promise.reject(new LibvirtError('NO_DOMAIN', 'no domain with matching uuid')) },
) as BlockApi & GuestApi;
const answers = new Map([...snapshotAnswers(snapshots), ...blockAnswers(nowhere), ...guestAnswers(nowhere)]);
const clientCalls = new ClientCalls(
  { answers, daemon: daemonAnswers(FAKE_STATUS, snapshots), qemu: qemuAnswers(nowhere) },
  proxyCalls({ snapshots, ...NOTHING_ELSE }),
);

/** The proxy's rules for what a client sends, without its sockets. Rejects for what would end the daemon. */
export async function pass(pieces: readonly Buffer[], readOnly: boolean): Promise<Passed> {
  const sent: Buffer[] = [];
  const seen: string[] = [];
  const written = { writable: true, writableLength: 0, write: (bytes: Buffer) => sent.push(Buffer.from(bytes)) };
  const outlet = new FrameOutlet(written as unknown as Socket);
  const work: Promise<unknown>[] = [];
  let current: FrameHeader | undefined;
  let passing = false;
  const waiting: string[] = [];
  const authentication = new Authentication(undefined, {
    readOnly,
    peer: undefined,
    signal: neverAborted(),
    authenticated() {},
  });
  using events = new LifecycleHub().attach(() => {});
  const context: ProxyContext = {
    open: true,
    readOnly,
    authentication,
    qemuSystem: undefined,
    judge: undefined,
    forwards: false,
    events,
    forwardIdentity: async () => {},
    actFor: () => {},
    toClient: () => {},
    toUpstream: (header, bytes) => {
      // What waits for the end of a frame that never ends is not sent.
      (passing ? waiting : seen).push(name(header));
      outlet.send(bytes);
    },
  };
  const splitter = new FrameSplitter({
    begin(header): Wanted {
      current = header;
      return clientCalls.decide(context, header).wanted;
    },
    whole(header, bytes) {
      work.push(clientCalls.run(context, header, bytes).catch(refused));
    },
    pass(bytes, last) {
      outlet.pass(bytes, last);
      passing = !last;
      if (!last) return;
      if (current?.type === TYPE.CALL) seen.push(name(current));
      seen.push(...waiting.splice(0));
    },
  });
  try {
    for (const piece of pieces) splitter.push(piece);
  } catch (error) {
    // The connection ends.
    refused(error);
  }
  await Promise.all(work);
  await snapshots.forget(domain.uuid);
  return { bytes: Buffer.concat(sent), calls: seen };
}

function refused(error: unknown): void {
  if (!isLibvirtError(error)) throw error;
}

/**
 * The calls that libvirtd cuts out of these bytes (virNetMessageDecodeLength, virNetServerClientDispatchRead): by the length
 * word; behind a call with file descriptors, as many bytes as it says are theirs.
 */
export function seenByLibvirtd(bytes: Buffer): readonly string[] {
  const found: string[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    if (length < HEADER_BYTES || length > FRAME_MAX || at + length > bytes.length) break;
    const type = bytes.readUInt32BE(at + 16);
    if (type === TYPE.CALL || type === TYPE.CALL_WITH_FDS) {
      found.push(`${bytes.readUInt32BE(at + 20)}: ${bytes.readUInt32BE(at + 4)}/${bytes.readInt32BE(at + 12)}`);
    }
    at += length + (type === TYPE.CALL_WITH_FDS ? bytes.readUInt32BE(at + HEADER_BYTES) : 0);
  }
  return found;
}
