/** A client that sends what it is told to, and hears every frame: for what no libvirt client would do. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FrameSplitter } from '../../../src/rpc/wire/frame-splitter.ts';
import { decodePayload, encodeFrame, type FrameHeader, STATUS, TYPE } from '../../../src/rpc/wire/frames.ts';
import { remoteError } from '../../../src/rpc/wire/messages.ts';
import { PROCEDURES, type Procedure } from '../../../src/rpc/wire/procedures.ts';

const REPLY_TIMEOUT_MS = 10_000;

export interface Frame {
  readonly header: FrameHeader;
  readonly bytes: Buffer;
}

export class RawClient implements Disposable {
  readonly socket: Socket;
  /** Every frame so far that nobody has asked for. */
  readonly frames: Frame[] = [];
  readonly #waiting = new Set<() => void>();
  #serial = 0;

  constructor(path: string) {
    this.socket = connect(path);
    const splitter = new FrameSplitter({
      begin: () => 'whole',
      whole: (header, bytes) => {
        this.frames.push({ header, bytes: Buffer.from(bytes) });
        for (const wake of this.#waiting) wake();
      },
      pass: () => {},
    });
    this.socket.on('data', (chunk) => splitter.push(chunk));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      for (const wake of this.#waiting) wake();
    });
  }

  /** As virsh does it: AUTH_LIST, CONNECT_OPEN. */
  static async open(path: string, name = 'test:///default', flags = 0): Promise<RawClient> {
    const client = new RawClient(path);
    await client.call(PROCEDURES.AUTH_LIST, undefined);
    await client.call(PROCEDURES.CONNECT_OPEN, { name, flags });
    return client;
  }

  /** Sends a call without waiting; the frame's fields may be bent by `header`. Returns its serial. */
  send<A, R>(procedure: Procedure<A, R>, args: A, header: Partial<FrameHeader> = {}): number {
    const serial = this.#serial++;
    this.socket.write(
      encodeFrame({ procedure: procedure.number, type: TYPE.CALL, serial, ...header }, procedure.args, args),
    );
    return serial;
  }

  /** Rejects with the server's message where the reply is an error. */
  async call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    const { header, bytes } = await this.reply(this.send(procedure, args));
    if (header.status === STATUS.ERROR) throw new Error(decodePayload(remoteError, bytes).message);
    return decodePayload(procedure.result, bytes);
  }

  reply(serial: number): Promise<Frame> {
    return this.next(({ header }) => header.type === TYPE.REPLY && header.serial === serial);
  }

  /** The fields of an error reply. */
  async error(serial: number) {
    const { header, bytes } = await this.reply(serial);
    if (header.status !== STATUS.ERROR) throw new Error(`the call succeeded: procedure ${header.procedure}`);
    return decodePayload(remoteError, bytes);
  }

  /** The first frame that fits, which is taken out of `frames`. */
  async next(fits: (frame: Frame) => boolean): Promise<Frame> {
    const timeout = AbortSignal.timeout(REPLY_TIMEOUT_MS);
    for (;;) {
      const at = this.frames.findIndex(fits);
      const [found] = at < 0 ? [] : this.frames.splice(at, 1);
      if (found) return found;
      if (this.socket.destroyed) throw new Error('the connection is closed');
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          timeout.removeEventListener('abort', fail);
          resolve();
        };
        const fail = (): void => {
          this.#waiting.delete(wake);
          reject(new Error('no such frame came'));
        };
        this.#waiting.add(wake);
        timeout.addEventListener('abort', fail, { once: true });
      });
    }
  }

  /** Resolves when the server has ended the connection. */
  async closed(): Promise<void> {
    if (this.socket.closed) return;
    await once(this.socket, 'close', { signal: AbortSignal.timeout(REPLY_TIMEOUT_MS) });
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
