/** A client's connection, with a connection of its own to the libvirtd behind us. */

import { existsSync } from 'node:fs';
import { LibvirtError, systemError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import { type Answer, type Answers, isRemoteCall } from '../server/answers.ts';
import { CallLimit } from '../server/call-limit.ts';
import { daemonAnswer, isDaemonCall } from '../server/daemon-calls.ts';
import type { EventClient, LifecycleHub } from '../server/lifecycle-hub.ts';
import type { ConnectionHandler } from '../server/server.ts';
import { snapshotAnswers } from '../server/snapshot-calls.ts';
import { FrameOutlet } from '../wire/frame-outlet.ts';
import type { FrameSink, Wanted } from '../wire/frame-splitter.ts';
import { type FrameHeader, PROGRAM, STATUS, TYPE } from '../wire/frames.ts';
import { descriptorOf, Inlet } from '../wire/inlet.ts';
import { errorFrame, isLifecycle, lifecycleFrame, readLifecycle } from '../wire/messages.ts';
import { BusyPoll } from './busy-poll.ts';
import { type ProxyCall, proxyCalls } from './proxy-calls.ts';
import type { ProxyContext, ProxyOptions } from './proxy-context.ts';

/** Several frames of a stream, of 256 KiB each: who hands them on sleeps less often. Unasked the kernel takes less than one. */
const SEND_BUFFER_BYTES = 1024 * 1024;

/** Serves connections by an upstream libvirtd, but for the calls that are about snapshots. */
export function proxy(options: ProxyOptions): ConnectionHandler {
  const answers = snapshotAnswers(options.snapshots);
  const calls = proxyCalls(options);
  const busyPoll = new BusyPoll();
  return (accepted, readOnly) => {
    const client = Inlet.over(accepted);
    const { upstream: readWritePath, upstreamReadOnly } = options;
    const path = readOnly && upstreamReadOnly && existsSync(upstreamReadOnly) ? upstreamReadOnly : readWritePath;
    const upstream = Inlet.connecting(path);
    const refuse = (error: Error): void => {
      upstream.socket.destroy();
      refuseFirstCall(client, systemError(error, `Failed to connect socket to '${path}'`, 'RPC'));
    };
    upstream.socket.once('error', refuse);
    client.socket.once('close', () => upstream.socket.destroySoon());
    upstream.socket.once('connect', () => {
      upstream.socket.off('error', refuse);
      for (const { socket } of [client, upstream]) {
        const fd = descriptorOf(socket);
        if (fd !== undefined) options.sendBuffer(fd, SEND_BUFFER_BYTES);
      }
      const { hub, status } = options;
      new ProxyConnection(client, upstream, { path, answers, calls, hub, status, busyPoll, readOnly });
    });
  };
}

interface Behind {
  readonly path: string;
  readonly answers: Answers;
  readonly calls: ReadonlyMap<number, ProxyCall>;
  readonly hub: LifecycleHub;
  readonly status: DaemonStatus;
  readonly busyPoll: BusyPoll;
  readonly readOnly: boolean;
}

/** A call whose reply is looked at on its way back. */
interface Awaited {
  readonly procedure: number;
  readonly then: (reply: FrameHeader, frame: Buffer) => Promise<Buffer> | Buffer;
}

class ProxyConnection implements ProxyContext {
  open = false;
  readOnly: boolean;
  readonly events: EventClient;
  readonly #client: Inlet;
  readonly #upstream: Inlet;
  readonly #answers: Answers;
  readonly #daemon: Answer;
  readonly #calls: ReadonlyMap<number, ProxyCall>;
  readonly #busyPoll: BusyPoll;
  readonly #clientOutlet: FrameOutlet;
  readonly #upstreamOutlet: FrameOutlet;
  readonly #limit = new CallLimit(
    () => !this.#client.socket.writableNeedDrain,
    () => this.#regulate(),
  );
  readonly #awaited = new Map<number, Awaited>();

  constructor(client: Inlet, upstream: Inlet, { path, answers, calls, hub, status, busyPoll, readOnly }: Behind) {
    this.readOnly = readOnly;
    this.#client = client;
    this.#upstream = upstream;
    this.#answers = answers;
    this.#daemon = daemonAnswer(status, () => this.open);
    this.#calls = calls;
    this.#busyPoll = busyPoll;
    this.#clientOutlet = new FrameOutlet(client.socket);
    this.#upstreamOutlet = new FrameOutlet(upstream.socket);
    this.events = hub.attach((frame) => this.toClient(frame));
    client.socket.once('close', () => this.events[Symbol.dispose]());
    let failure: Error | undefined;
    upstream.socket.on('error', (error) => {
      failure = new LibvirtError('RPC', `connection to libvirtd at '${path}': ${error.message}`, { domain: 'RPC' });
    });
    upstream.socket.once('close', () => this.#clientOutlet.close(failure));
    const regulate = () => this.#regulate();
    client.start(
      {
        begin: (header) => this.#clientBegins(header),
        whole: (header, frame) => this.#call(header, frame),
        pass: (bytes, last) => this.#upstreamOutlet.pass(bytes, last),
      },
      regulate,
      upstream.socket,
    );
    upstream.start(
      {
        begin: (header) => this.#upstreamBegins(header),
        whole: (header, frame) => this.#reply(header, frame),
        pass: (bytes, last) => this.#clientOutlet.pass(bytes, last),
      },
      regulate,
      client.socket,
    );
  }

  toClient(frame: Buffer): void {
    this.#clientOutlet.send(frame);
  }

  toUpstream(call: FrameHeader, frame: Buffer, then?: Awaited['then']): void {
    if (then) this.#awaited.set(call.serial, { procedure: call.procedure, then });
    this.#upstreamOutlet.send(frame);
  }

  /** Reads from each side only while what it sends can go on: nothing piles up here. */
  #regulate(): void {
    this.#limit.advance();
    const clientFull = this.#client.socket.writableNeedDrain;
    this.#upstream.flow(!clientFull);
    this.#client.flow(!clientFull && !this.#upstream.socket.writableNeedDrain && !this.#limit.reached);
  }

  #clientBegins(header: FrameHeader): Wanted {
    if (header.type === TYPE.CALL_WITH_FDS) {
      this.toClient(errorFrame(header, noFds()));
      return 'drop';
    }
    if (isDaemonCall(header)) return header.type === TYPE.CALL ? 'whole' : 'drop';
    if (!isRemoteCall(header)) return 'pass';
    this.#busyPoll.expect(this);
    const answered = this.open && this.#answers.has(header.procedure);
    const wanted = this.#calls.get(header.procedure)?.isWanted() ?? false;
    return answered || wanted ? 'whole' : 'pass';
  }

  #call(header: FrameHeader, frame: Buffer): void {
    const answer = isDaemonCall(header) ? this.#daemon : this.#answers.get(header.procedure);
    const call = this.#calls.get(header.procedure);
    this.#limit.run(async () => {
      try {
        if (answer) this.toClient(await answer(header, frame, this.readOnly));
        else await call?.run(this, header, frame);
      } catch (error) {
        this.toClient(errorFrame(header, error));
      }
    });
  }

  #upstreamBegins(header: FrameHeader): Wanted {
    if (header.program !== PROGRAM.REMOTE) return 'pass';
    if (header.type === TYPE.REPLY_WITH_FDS) {
      this.toClient(errorFrame(header, noFds()));
      return 'drop';
    }
    if (header.type === TYPE.MESSAGE) return isLifecycle(header) ? 'whole' : 'pass';
    if (header.type === TYPE.REPLY) this.#busyPoll.expect(this);
    const awaited = header.type === TYPE.REPLY ? this.#awaited.get(header.serial) : undefined;
    if (awaited?.procedure !== header.procedure) return 'pass';
    if (header.status === STATUS.OK) return 'whole';
    this.#awaited.delete(header.serial);
    return 'pass';
  }

  #reply(header: FrameHeader, frame: Buffer): void {
    if (header.type === TYPE.MESSAGE) {
      this.#event(header, frame);
      return;
    }
    const awaited = this.#awaited.get(header.serial);
    this.#awaited.delete(header.serial);
    const refuse = (error: unknown): void => this.toClient(errorFrame(header, error));
    try {
      const next = awaited?.then(header, frame) ?? frame;
      if (next instanceof Promise) void next.then((reply) => this.toClient(reply), refuse);
      else this.toClient(next);
    } catch (error) {
      refuse(error);
    }
  }

  #event(header: FrameHeader, frame: Buffer): void {
    const message = readLifecycle(header, frame);
    const seen = this.events.translate(message);
    if (seen) this.toClient(lifecycleFrame(message.callbackID, message.domain, seen));
  }
}

/** Node cannot receive file descriptors. Clients ask for the feature first (and hear no); this is for those that do not. */
function noFds(): LibvirtError {
  return new LibvirtError('NO_SUPPORT', 'fd passing is not supported by this connection', { domain: 'RPC' });
}

/** For a client that has come while there is nothing behind us: its first call says why, then the connection ends. */
function refuseFirstCall(client: Inlet, error: LibvirtError): void {
  const outlet = new FrameOutlet(client.socket);
  let refused = false;
  const sink: FrameSink = {
    begin(header) {
      if (header.type === TYPE.CALL && !refused) {
        refused = true;
        outlet.send(errorFrame(header, error));
        outlet.close(error);
      }
      return 'drop';
    },
    whole: () => {},
    pass: () => {},
  };
  client.start(sink, () => {});
}
