/** A libvirtd of a few lines, for clients under test: it opens for everybody, and answers what a test tells it to. */

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { CALLS } from '../../../src/rpc/client/calls.ts';
import type { RemoteCall } from '../../../src/rpc/client/connection.ts';
import { FrameSplitter } from '../../../src/rpc/wire/frame-splitter.ts';
import { decodePayload, type FrameHeader, PROGRAM } from '../../../src/rpc/wire/frames.ts';
import { errorFrame, replyFrame } from '../../../src/rpc/wire/messages.ts';

/** Answers a call; the frame is the call's. */
type Answer = (header: FrameHeader, frame: Buffer, socket: Socket) => void;

export class Peer implements AsyncDisposable {
  readonly path: string;
  readonly sockets: Socket[] = [];
  /** Keepalive frames that have come, pings and pongs. */
  readonly keepalives: FrameHeader[] = [];
  readonly #server: Server;
  readonly #answers = new Map<number, Answer>();

  constructor(path: string) {
    this.path = path;
    this.answer(CALLS.authList, () => ({ types: [0] }));
    this.answer(CALLS.open, () => undefined);
    this.answer(CALLS.supportsFeature, () => ({ supported: 1 }));
    this.answer(CALLS.registerAny, () => ({ callbackID: 7 }));
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, 'listening');
  }

  answer<A, R>(call: RemoteCall<A, R>, reply: (args: A) => R): void {
    this.#answers.set(call.number, (header, frame, socket) => {
      try {
        socket.write(replyFrame(header, call.result, reply(decodePayload(call.args, frame))));
      } catch (error) {
        socket.write(errorFrame(header, error));
      }
    });
  }

  /** For an answer that comes later, in another order, or not at all. */
  on(call: { readonly number: number }, answer: Answer): void {
    this.#answers.set(call.number, answer);
  }

  /** The newest connection. */
  get last(): Socket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error('nobody has connected');
    return socket;
  }

  #serve(socket: Socket): void {
    this.sockets.push(socket);
    const splitter = new FrameSplitter({
      begin: () => 'whole',
      whole: (header, frame) => {
        if (header.program === PROGRAM.KEEPALIVE) this.keepalives.push(header);
        else this.#answers.get(header.procedure)?.(header, frame, socket);
      },
      pass: () => {},
    });
    socket.on('data', (chunk) => splitter.push(chunk));
    socket.on('error', () => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}
