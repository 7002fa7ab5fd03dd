/** A client's connection, with a connection of its own to the libvirtd behind us. */

import type { Judge } from '../../access/acl.ts';
import type { Authentication } from '../../access/authentication.ts';
import { type PeerCredentials, type ProcessSubject, processSubject } from '../../access/caller.ts';
import { LibvirtError, receivedError } from '../../errors.ts';
import { isOpenCall } from '../server/gate.ts';
import type { EventClient, LifecycleHub } from '../server/lifecycle-hub.ts';
import { CallLimit } from '../wire/call-limit.ts';
import { FrameOutlet } from '../wire/frame-outlet.ts';
import type { FrameSink, Wanted } from '../wire/frame-splitter.ts';
import { decodePayload, type FrameHeader, PROGRAM, STATUS, TYPE } from '../wire/frames.ts';
import type { Inlet } from '../wire/inlet.ts';
import { errorFrame, isLifecycle, lifecycleFrame, readLifecycle, remoteError } from '../wire/messages.ts';
import type { Turns } from '../wire/turns.ts';
import type { BusyPoll } from './busy-poll.ts';
import type { ClientCalls } from './client-calls.ts';
import { identityCall, isIdentityReply } from './identity.ts';
import { isOwnAuthReply, OWN_AUTH_LIST } from './own-authentication.ts';
import type { ProxyContext } from './proxy-context.ts';

/** How a client is judged, and the calls that are. `judge` is absent if it may do all that its socket allows. */
interface Judged {
  readonly judge: Judge | undefined;
  readonly calls: ClientCalls;
}

/** What a connection is made of, besides its two sockets. */
export interface Behind {
  readonly path: string;
  readonly hub: LifecycleHub;
  readonly busyPoll: BusyPoll;
  readonly turns: Turns;
  readonly readOnly: boolean;
  readonly qemuSystem: string | undefined;
  readonly authentication: Authentication;
  readonly judged: Judged;
  readonly forwards: boolean;
  /** How a client of a daemon that forwards is judged. */
  readonly judgedAs: (who: ProcessSubject | undefined) => Judged;
  /** True if what clients do is judged at all. */
  readonly hasJudges: boolean;
  /** For whom the upstream is asked; undefined: it is asked as ourselves. */
  readonly behalf: { readonly peer: PeerCredentials | undefined } | undefined;
}

/** A call whose reply is looked at on its way back. */
interface Awaited {
  readonly procedure: number;
  readonly then: (reply: FrameHeader, frame: Buffer) => Promise<Buffer> | Buffer;
}

/** Begins to serve at once. */
export class ProxyConnection implements ProxyContext {
  open = false;
  readOnly: boolean;
  readonly authentication: Authentication;
  readonly qemuSystem: string | undefined;
  readonly forwards: boolean;
  readonly events: EventClient;
  #judged: Judged;
  readonly #judgedAs: Behind['judgedAs'];
  readonly #behalf: Behind['behalf'];
  readonly #client: Inlet;
  readonly #upstream: Inlet;
  readonly #busyPoll: BusyPoll;
  readonly #clientOutlet: FrameOutlet;
  readonly #upstreamOutlet: FrameOutlet;
  readonly #limit: CallLimit;
  readonly #awaited = new Map<number, Awaited>();
  /** True until CONNECT_OPEN is answered: what may come after it depends on that. */
  #opening = false;
  /** Takes the reply to CONNECT_SET_IDENTITY. */
  #identified: ((header: FrameHeader, frame: Buffer) => void) | undefined;

  constructor(client: Inlet, upstream: Inlet, behind: Behind) {
    const { path, hub, busyPoll, turns, readOnly, qemuSystem, authentication, behalf } = behind;
    this.readOnly = readOnly;
    this.authentication = authentication;
    this.qemuSystem = qemuSystem;
    this.#behalf = behalf;
    this.forwards = behind.forwards;
    this.#judged = behind.judged;
    this.#judgedAs = behind.judgedAs;
    this.#client = client;
    this.#upstream = upstream;
    this.#busyPoll = busyPoll;
    this.#clientOutlet = new FrameOutlet(client.socket);
    this.#upstreamOutlet = new FrameOutlet(upstream.socket);
    this.events = hub.attach(
      (frames) => this.toClient(frames),
      behind.hasJudges ? async (ref) => (await this.judge?.sees(ref)) ?? true : undefined,
    );
    client.socket.once('close', () => this.events[Symbol.dispose]());
    let failure: Error | undefined;
    upstream.socket.on('error', (error) => {
      failure = new LibvirtError('RPC', `connection to libvirtd at '${path}': ${error.message}`, { domain: 'RPC' });
    });
    upstream.socket.once('close', () => this.#clientOutlet.close(failure));
    const lane = readOnly ? 'read-only' : 'write';
    const regulate = () => this.#regulate();
    const takeTurns = (step: () => boolean) => turns.join(lane, step);
    this.#limit = new CallLimit(takeTurns, { mayStart: () => !client.socket.writableNeedDrain, onEnd: regulate });
    const fromClient: FrameSink = {
      begin: (header) => this.#clientBegins(header),
      whole: (header, frame) => this.#call(header, frame),
      pass: (bytes, last) => this.#upstreamOutlet.pass(bytes, last),
    };
    const fromUpstream: FrameSink = {
      begin: (header) => this.#upstreamBegins(header),
      whole: (header, frame) => this.#reply(header, frame),
      pass: (bytes, last) => this.#clientOutlet.pass(bytes, last),
    };
    client.start({ sink: fromClient, regulate, takeTurns, into: upstream.socket });
    upstream.start({ sink: fromUpstream, regulate, takeTurns, into: client.socket });
    this.#upstreamOutlet.send(OWN_AUTH_LIST);
  }

  get judge(): Judge | undefined {
    return this.#judged.judge;
  }

  toClient(frames: Buffer): void {
    this.#clientOutlet.send(frames);
  }

  toUpstream(call: FrameHeader, frame: Buffer, then?: Awaited['then']): void {
    if (this.#awaited.has(call.serial)) {
      throw new LibvirtError('RPC', `a call with serial ${call.serial} is under way`, { domain: 'RPC' });
    }
    if (then) this.#awaited.set(call.serial, { procedure: call.procedure, then });
    this.#upstreamOutlet.send(frame);
  }

  async forwardIdentity(): Promise<void> {
    if (!this.#behalf) return;
    const { peer } = this.#behalf;
    if (!peer || !processSubject(peer)) {
      throw new LibvirtError('ACCESS_DENIED', 'the process that connected cannot be identified', { domain: 'RPC' });
    }
    const identified = new Promise<void>((resolve, reject) => {
      this.#identified = ({ status }, frame) => {
        if (status === STATUS.OK) resolve();
        else reject(receivedError(decodePayload(remoteError, frame)));
      };
    });
    this.#upstreamOutlet.send(identityCall(peer));
    await identified;
  }

  actFor(who: ProcessSubject | undefined): void {
    this.#judged = this.#judgedAs(who);
  }

  /** Reads from each side only while its frames can be passed on: nothing piles up here. */
  #regulate(): void {
    this.#limit.advance();
    const clientFull = this.#client.socket.writableNeedDrain;
    const upstreamFull = this.#upstream.socket.writableNeedDrain;
    this.#upstream.flow(!clientFull);
    this.#client.flow(!clientFull && !upstreamFull && !this.#limit.reached && !this.#opening);
  }

  #clientBegins(header: FrameHeader): Wanted {
    const { wanted, refusal } = this.#judged.calls.decide(this, header);
    if (refusal) return this.#refuse(header, refusal);
    if (wanted !== 'drop') this.#busyPoll.expect(this);
    return wanted;
  }

  #refuse(header: FrameHeader, error: LibvirtError): Wanted {
    this.toClient(errorFrame(header, error));
    return 'drop';
  }

  #call(header: FrameHeader, frame: Buffer): void {
    this.#opening ||= isOpenCall(header);
    this.#limit.run(async () => {
      try {
        await this.#judged.calls.run(this, header, frame);
      } catch (error) {
        this.toClient(errorFrame(header, error));
        this.#answered(header);
      }
    });
  }

  #answered(header: FrameHeader): void {
    if (!isOpenCall(header)) return;
    this.#opening = false;
    this.#regulate();
  }

  #upstreamBegins(header: FrameHeader): Wanted {
    if (header.program !== PROGRAM.REMOTE) return 'pass';
    if (header.type === TYPE.REPLY_WITH_FDS) return this.#refuse(header, noFds());
    if (header.type === TYPE.MESSAGE) return isLifecycle(header) ? 'whole' : 'pass';
    if (isOwnAuthReply(header)) return 'drop';
    if (header.type === TYPE.REPLY) this.#busyPoll.expect(this);
    if (this.#identified && isIdentityReply(header)) return 'whole';
    const awaited = header.type === TYPE.REPLY ? this.#awaited.get(header.serial) : undefined;
    if (awaited?.procedure !== header.procedure) return 'pass';
    if (header.status === STATUS.OK) return 'whole';
    this.#awaited.delete(header.serial);
    this.#answered(header);
    return 'pass';
  }

  #reply(header: FrameHeader, frame: Buffer): void {
    if (header.type === TYPE.MESSAGE) {
      this.#event(header, frame);
      return;
    }
    if (this.#identified && isIdentityReply(header)) {
      this.#identified(header, frame);
      return;
    }
    const awaited = this.#awaited.get(header.serial);
    const done = (reply: Buffer): void => {
      this.#awaited.delete(header.serial);
      this.toClient(reply);
      this.#answered(header);
    };
    const refuse = (error: unknown): void => done(errorFrame(header, error));
    try {
      const next = awaited?.then(header, frame) ?? frame;
      if (next instanceof Promise) void next.then(done, refuse);
      else done(next);
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

/**
 * Node cannot receive file descriptors. Clients ask for the feature first and are denied it; this is for those that do
 * not ask.
 */
function noFds(): LibvirtError {
  return new LibvirtError('NO_SUPPORT', 'fd passing is not supported by this connection', { domain: 'RPC' });
}
