/** The server where no libvirtd stands behind us: libvirt's RPC over our own domains. */

import { LibvirtError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import type { SnapshotApi } from '../../snapshots/api.ts';
import { nothing } from '../wire/codec.ts';
import { FrameOutlet } from '../wire/frame-outlet.ts';
import type { Wanted } from '../wire/frame-splitter.ts';
import { encodeFrame, type FrameHeader, KEEPALIVE, PROGRAM, STATUS, TYPE, VERSION } from '../wire/frames.ts';
import { Inlet } from '../wire/inlet.ts';
import { errorFrame } from '../wire/messages.ts';
import { CONNECT, FEATURE, PROCEDURES as P } from '../wire/procedures.ts';
import { type Answer, type Answers, answer } from './answers.ts';
import { CallLimit } from './call-limit.ts';
import { daemonAnswer, isDaemonCall } from './daemon-calls.ts';
import type { DomainApi } from './domain-api.ts';
import { domainAnswers } from './domain-calls.ts';
import { eventAnswers } from './event-calls.ts';
import { jobAnswers } from './job-calls.ts';
import type { EventClient, LifecycleHub } from './lifecycle-hub.ts';
import { capabilities, hostname, nodeInfo } from './node-info.ts';
import type { ConnectionHandler } from './server.ts';
import { snapshotAnswers } from './snapshot-calls.ts';

interface StandaloneOptions {
  /** What is served: `test:///default`. A client's URI must be of the same scheme, or empty. */
  readonly uri: string;
  /** virConnectGetVersion: major · 10⁶ + minor · 10³ + release. */
  readonly version: bigint;
  readonly domains: DomainApi;
  readonly snapshots: SnapshotApi;
  readonly hub: LifecycleHub;
  readonly status: DaemonStatus;
}

/** The libvirt whose protocol this is, as virConnectGetLibVersion says it. */
export const LIBVIRT_VERSION = 9_000_000n;

/** remote_auth_type REMOTE_AUTH_NONE: who may connect is a matter of the socket's mode. */
const AUTH_NONE = 0;

/** What the client may count on. */
const FEATURES = new Set<number>([FEATURE.PROGRAM_KEEPALIVE, FEATURE.EVENT_CALLBACK, FEATURE.CLOSE_CALLBACK]);

/** Served before CONNECT_OPEN. */
const BEFORE_OPEN = new Set<number>([P.CONNECT_OPEN.number, P.AUTH_LIST.number, P.CONNECT_SUPPORTS_FEATURE.number]);

/** Serves connections over our own domains. */
export function standalone(options: StandaloneOptions): ConnectionHandler {
  const { domains, snapshots } = options;
  const shared = new Map([
    ...snapshotAnswers(snapshots),
    ...domainAnswers(domains, snapshots),
    ...jobAnswers(domains, snapshots),
  ]);
  return (accepted, readOnly) => {
    new StandaloneConnection(Inlet.over(accepted), readOnly, shared, options);
  };
}

class StandaloneConnection {
  readonly #client: Inlet;
  readonly #outlet: FrameOutlet;
  readonly #shared: Answers;
  readonly #own: Answers;
  readonly #daemon: Answer;
  readonly #events: EventClient;
  readonly #limit = new CallLimit(
    () => !this.#client.socket.writableNeedDrain,
    () => this.#regulate(),
  );
  #readOnly: boolean;
  #open = false;

  constructor(client: Inlet, readOnly: boolean, shared: Answers, options: StandaloneOptions) {
    this.#client = client;
    this.#readOnly = readOnly;
    this.#outlet = new FrameOutlet(client.socket);
    this.#shared = shared;
    this.#events = options.hub.attach((frame) => this.#outlet.send(frame));
    this.#own = this.#ownAnswers(options);
    this.#daemon = daemonAnswer(options.status, () => this.#open);
    client.socket.once('close', () => this.#events[Symbol.dispose]());
    client.start(
      {
        begin: (header) => this.#begin(header),
        whole: (header, frame) => this.#call(header, frame),
        pass: () => {},
      },
      () => this.#regulate(),
    );
  }

  /** A client that does not read its replies is not read from either. */
  #regulate(): void {
    this.#limit.advance();
    this.#client.flow(!this.#client.socket.writableNeedDrain && !this.#limit.reached);
  }

  #begin(header: FrameHeader): Wanted {
    if (header.program === PROGRAM.KEEPALIVE) {
      if (header.procedure === KEEPALIVE.PING) this.#outlet.send(pong());
      return 'drop';
    }
    if (header.type === TYPE.CALL) return 'whole';
    if (header.type === TYPE.CALL_WITH_FDS) this.#outlet.send(errorFrame(header, unknownProcedure(header)));
    return 'drop';
  }

  #call(header: FrameHeader, frame: Buffer): void {
    this.#limit.run(async () => {
      if (isDaemonCall(header)) {
        this.#outlet.send(await this.#daemon(header, frame, this.#readOnly));
        return;
      }
      const found = this.#own.get(header.procedure) ?? this.#shared.get(header.procedure);
      const refusal = headerRefusal(header) ?? (found ? this.#stateRefusal(header) : unknownProcedure(header));
      this.#outlet.send(refusal || !found ? errorFrame(header, refusal) : await found(header, frame, this.#readOnly));
      if (header.procedure === P.CONNECT_CLOSE.number) this.#outlet.close();
    });
  }

  #stateRefusal({ procedure }: FrameHeader): LibvirtError | undefined {
    if (this.#open || BEFORE_OPEN.has(procedure)) return undefined;
    return new LibvirtError('INTERNAL_ERROR', 'hypervisor connection not open', { domain: 'RPC' });
  }

  /** What depends on the connection, or is about the connection only. */
  #ownAnswers({ uri, version, domains }: StandaloneOptions): Answers {
    return new Map([
      ...eventAnswers(this.#events),
      answer(P.AUTH_LIST, () => ({ types: [AUTH_NONE] })),
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
      answer(P.CONNECT_GET_CAPABILITIES, () => ({ value: capabilities(domains.type.toLowerCase()) })),
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

/** The words matter: libvirt's client makes "not supported" of them, which is what its fallbacks look for. */
function unknownProcedure({ procedure }: FrameHeader): LibvirtError {
  return new LibvirtError('RPC', `unknown procedure: ${procedure}`, { domain: 'RPC' });
}

/** What libvirtd says to a call that is for no program of its. */
function headerRefusal({ program, version, status }: FrameHeader): LibvirtError | undefined {
  if (program !== PROGRAM.REMOTE || version !== VERSION) {
    return new LibvirtError('RPC', `Cannot find program ${program} version ${version}`, { domain: 'RPC' });
  }
  if (status !== STATUS.OK) return new LibvirtError('RPC', `Unexpected message status ${status}`, { domain: 'RPC' });
  return undefined;
}
