/** The server if there is no upstream libvirtd: libvirt's RPC over our own domains. */

import { Authentication, type Entries } from '../../access/authentication.ts';
import { LibvirtError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import type { BlockApi, GuestApi, SaveApi, SaveImageApi, SnapshotApi } from '../../snapshots/api.ts';
import { CallLimit } from '../wire/call-limit.ts';
import { nothing } from '../wire/codec.ts';
import { FrameOutlet } from '../wire/frame-outlet.ts';
import type { FrameSink, Wanted } from '../wire/frame-splitter.ts';
import { encodeFrame, type FrameHeader, KEEPALIVE, PROGRAM, TYPE } from '../wire/frames.ts';
import { Inlet } from '../wire/inlet.ts';
import { errorFrame } from '../wire/messages.ts';
import { CONNECT, FEATURE, PROCEDURES as P } from '../wire/procedures.ts';
import { Turns } from '../wire/turns.ts';
import { undecodable } from '../wire/xdr.ts';
import { type Answers, answer } from './answers.ts';
import { blockAnswers } from './calls/block-calls.ts';
import { emptyLists } from './calls/empty-lists.ts';
import { guestAnswers, qemuAnswers } from './calls/guest-calls.ts';
import { saveAnswers, saveImageAnswers } from './calls/save-calls.ts';
import { statsAnswers } from './calls/stats-calls.ts';
import { daemonAnswers } from './daemon-calls.ts';
import type { DomainApi } from './domain-api.ts';
import { domainAnswers } from './domain-calls.ts';
import { eventAnswers } from './event-calls.ts';
import { callRefusal, frameKind, isOpenCall, notSupported } from './gate.ts';
import { jobAnswers } from './job-calls.ts';
import type { EventClient, LifecycleHub } from './lifecycle-hub.ts';
import { capabilities, hostname, nodeInfo } from './node-info.ts';
import type { ConnectionHandler } from './server.ts';
import { snapshotAnswers } from './snapshot-calls.ts';

interface StandaloneOptions {
  /** How clients are let in; absent: everybody who could connect is. */
  readonly entries?: Entries;
  /** The URI that is served: `test:///default`. A client's URI must have the same scheme, or be empty. */
  readonly uri: string;
  /** virConnectGetVersion: major · 10⁶ + minor · 10³ + release. */
  readonly version: bigint;
  readonly domains: DomainApi;
  readonly snapshots: SnapshotApi;
  /** Absent: block jobs are not supported. */
  readonly blocks?: BlockApi;
  /** Absent: calls to guests' agents are not supported. */
  readonly guests?: GuestApi;
  /** Absent: domains are neither saved nor restored. */
  readonly saves?: SaveApi;
  /** Absent: nothing is known of images of saved domains. */
  readonly saveImages?: SaveImageApi;
  readonly hub: LifecycleHub;
  readonly status: DaemonStatus;
}

/** The libvirt whose protocol this is, as virConnectGetLibVersion says it. */
export const LIBVIRT_VERSION = 9_000_000n;

/** The features that we have. */
const FEATURES = new Set<number>([FEATURE.PROGRAM_KEEPALIVE, FEATURE.EVENT_CALLBACK, FEATURE.CLOSE_CALLBACK]);

/** Serves connections over our own domains. */
export function standalone(options: StandaloneOptions): ConnectionHandler {
  const { domains, snapshots } = options;
  const shared = new Map([
    ...snapshotAnswers(snapshots),
    ...domainAnswers(domains, snapshots, options.guests),
    ...jobAnswers(domains, snapshots),
    ...statsAnswers(domains),
    ...emptyLists,
    ...saveAnswers(options.saves, domains),
    ...(options.saveImages ? saveImageAnswers(options.saveImages) : []),
    ...(options.guests ? guestAnswers(options.guests) : []),
    ...(options.blocks ? blockAnswers(options.blocks) : []),
  ]);
  const turns = new Turns();
  return (accepted, client) => {
    const { readOnly } = client;
    const gone = new AbortController();
    accepted.once('close', () => gone.abort());
    const authentication = new Authentication(options.entries, { ...client, signal: gone.signal });
    new StandaloneConnection(Inlet.over(accepted), { readOnly, authentication, shared, turns, options });
  };
}

interface Served {
  readonly authentication: Authentication;
  readonly readOnly: boolean;
  readonly shared: Answers;
  readonly turns: Turns;
  readonly options: StandaloneOptions;
}

class StandaloneConnection {
  readonly #client: Inlet;
  readonly #outlet: FrameOutlet;
  readonly #answers: Answers;
  readonly #daemon: Answers;
  readonly #qemu: Answers | undefined;
  readonly #authentication: Authentication;
  readonly #events: EventClient;
  readonly #limit: CallLimit;
  #readOnly: boolean;
  #open = false;
  /** True until CONNECT_OPEN is answered: what may come after it depends on that. */
  #opening = false;

  constructor(client: Inlet, { readOnly, authentication, shared, turns, options }: Served) {
    this.#client = client;
    this.#authentication = authentication;
    this.#readOnly = readOnly;
    this.#outlet = new FrameOutlet(client.socket);
    this.#events = options.hub.attach((frames) => this.#outlet.send(frames));
    this.#answers = new Map([...shared, ...this.#ownAnswers(options)]);
    this.#daemon = daemonAnswers(options.status, options.snapshots);
    this.#qemu = options.guests ? qemuAnswers(options.guests) : undefined;
    client.socket.once('close', () => this.#events[Symbol.dispose]());
    const takeTurns = (step: () => boolean) => turns.join(readOnly ? 'read-only' : 'write', step);
    const regulate = () => this.#regulate();
    this.#limit = new CallLimit(takeTurns, { mayStart: () => !client.socket.writableNeedDrain, onEnd: regulate });
    const sink: FrameSink = {
      begin: (header) => this.#begin(header),
      whole: (header, frame) => this.#call(header, frame),
      pass: () => {},
    };
    client.start({ sink, regulate, takeTurns });
  }

  /** Does not read from a client that does not read its replies. */
  #regulate(): void {
    this.#limit.advance();
    this.#client.flow(!this.#client.socket.writableNeedDrain && !this.#limit.reached && !this.#opening);
  }

  #begin(header: FrameHeader): Wanted {
    const kind = frameKind(header);
    if (kind === 'ping') this.#outlet.send(pong());
    if (kind !== 'call') return 'drop';
    const refusal = callRefusal(header, {
      authenticated: this.#authentication.done,
      open: this.#open,
      readOnly: this.#readOnly,
      // No daemon of libvirt comes to the embedded host.
      forwards: false,
    });
    if (refusal) return this.#refuse(header, refusal);
    const found = this.#answersOf(header)?.get(header.procedure);
    if (!found) return this.#refuse(header, notSupported(header));
    return header.length > found.max ? this.#refuse(header, undecodable()) : 'whole';
  }

  #answersOf({ program }: FrameHeader): Answers | undefined {
    if (program === PROGRAM.XLSNAP) return this.#daemon;
    if (program === PROGRAM.QEMU) return this.#qemu;
    return program === PROGRAM.REMOTE ? this.#answers : undefined;
  }

  #refuse(header: FrameHeader, error: LibvirtError): Wanted {
    this.#outlet.send(errorFrame(header, error));
    return 'drop';
  }

  #call(header: FrameHeader, frame: Buffer): void {
    const { program, procedure } = header;
    const opens = isOpenCall(header);
    this.#opening ||= opens;
    this.#limit.run(async () => {
      const reply = await this.#answersOf(header)?.get(procedure)?.reply(header, frame, this.#readOnly);
      if (reply) this.#outlet.send(reply);
      if (opens) this.#opening = false;
      if (program === PROGRAM.REMOTE && procedure === P.CONNECT_CLOSE.number) this.#outlet.close();
    });
  }

  /** The calls that depend on the connection, or are about the connection only. */
  #ownAnswers({ uri, version, domains }: StandaloneOptions): Answers {
    return new Map([
      ...eventAnswers(this.#events),
      answer(P.AUTH_LIST, () => ({ types: [this.#authentication.type] })),
      answer(P.AUTH_POLKIT, async () => {
        await this.#authentication.polkit();
        return { complete: 1 };
      }),
      answer(P.CONNECT_SUPPORTS_FEATURE, ({ feature }) => ({ supported: Number(FEATURES.has(feature)) })),
      answer(P.CONNECT_OPEN, ({ name, flags }) => {
        if (this.#open) throw new LibvirtError('INTERNAL_ERROR', 'connection already open', { domain: 'RPC' });
        if (name && schemeOf(name) !== schemeOf(uri)) throw new LibvirtError('NO_CONNECT', name, { domain: 'RPC' });
        this.#open = true;
        this.#readOnly ||= (flags & CONNECT.RO) !== 0;
      }),
      answer(P.CONNECT_CLOSE, () => {}),
      answer(P.CONNECT_REGISTER_CLOSE_CALLBACK, () => {}),
      answer(P.CONNECT_UNREGISTER_CLOSE_CALLBACK, () => {}),

      answer(P.CONNECT_GET_TYPE, () => ({ value: domains.type })),
      answer(P.CONNECT_GET_VERSION, () => ({ value: version })),
      answer(P.CONNECT_GET_LIB_VERSION, () => ({ value: LIBVIRT_VERSION })),
      answer(P.CONNECT_GET_HOSTNAME, () => ({ value: hostname() })),
      answer(P.CONNECT_GET_URI, () => ({ value: uri })),
      answer(P.CONNECT_GET_CAPABILITIES, () => ({ value: capabilities(domains.guests) })),
      answer(P.NODE_GET_INFO, () => nodeInfo()),
      // A UNIX socket is both secure and, for libvirt, as good as encrypted.
      answer(P.CONNECT_IS_SECURE, () => ({ value: 1 })),
    ]);
  }
}

const schemeOf = (uri: string): string => uri.split(':', 1)[0]?.split('+', 1)[0] ?? '';

function pong(): Buffer {
  const header = { program: PROGRAM.KEEPALIVE, procedure: KEEPALIVE.PONG, type: TYPE.MESSAGE, serial: 0 };
  return encodeFrame(header, nothing, undefined);
}
