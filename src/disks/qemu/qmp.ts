/**
 * QEMU's machine protocol over its unix socket, for short conversations: connect, a few commands, leave. A QEMU socket
 * serves one client at a time, and libxl uses the same QEMU, so a connection is never kept.
 * https://www.qemu.org/docs/master/interop/qmp-spec.html
 */

import { access } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasReason, LibvirtError, throwIfCancelled } from '../../errors.ts';
import { deadline } from '../deadline.ts';
import { parseReply, SocketLines } from './socket-lines.ts';

/** How long to wait for the greeting while another client (libxl, xenstat) holds the monitor. */
const GREETING_TIMEOUT_MS = 5_000;
/** Pause before the next attempt when the socket's queue of waiting clients is full. */
const RETRY_MS = 50;
/** For one command. A snapshot copies tables, not data: seconds even for a very large image. */
const COMMAND_TIMEOUT_MS = 60_000;

/** The folder in which libxl puts the monitors of a guest's QEMU. */
const XEN_RUN_DIR = '/var/run/xen';
/** xenstat's monitor comes first, because libxl needs its own. */
const XEN_MONITORS = ['qmp-libxenstat', 'qmp-libxl'] as const;

/** The part of a QMP message that is used here: a greeting, a reply or an event. */
interface QmpMessage {
  readonly QMP?: unknown;
  readonly event?: string;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
}

/** QEMU's answer to bytes that it cannot read as a command: it has no id, and only one command is under way. */
const isUnread = ({ error, id }: QmpMessage): boolean => error !== undefined && id === undefined;

/** Codes of a connection at whose other end is no process, or none any more. */
const GONE: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ENOENT', 'ECONNRESET', 'EPIPE']);

/** The device model has closed the connection, as its end does. */
class ConnectionClosed extends Error {}

/** The reason for callers to say what becomes of the guest. */
function reasonOf(error: unknown): { readonly reason?: 'device-model-gone' } {
  const isGone = error instanceof ConnectionClosed || GONE.has((error as NodeJS.ErrnoException).code);
  return isGone || hasReason(error, 'device-model-gone') ? { reason: 'device-model-gone' } : {};
}

/** The command was sent, but no reply came: QEMU may or may not have run it. */
export class QmpReplyLost extends LibvirtError {}

/** Returns the monitor of a Xen guest's device model. Refuses a guest without one (QEMU in this domain serves no disk). */
export async function qmpSocketOf(domid: number, folder = XEN_RUN_DIR): Promise<string> {
  const sockets = XEN_MONITORS.map((monitor) => `${folder}/${monitor}-${domid}`);
  for (const socket of sockets) {
    const found = await access(socket).then(
      () => true,
      () => false,
    );
    if (found) return socket;
  }
  throw new LibvirtError(
    'OPERATION_FAILED',
    `no device model serves the disks of domain ${domid}: neither ${sockets.join(' nor ')} exists`,
    { reason: 'device-model-gone' },
  );
}

/** One conversation. `await using qmp = await Qmp.connect(socket, signal)`. */
export class Qmp implements AsyncDisposable {
  readonly #path: string;
  readonly #socket: Socket;
  readonly #lines: SocketLines;
  #lastId = 0;

  private constructor(path: string, socket: Socket) {
    this.#path = path;
    this.#socket = socket;
    this.#lines = new SocketLines(socket);
  }

  /** Waits for other clients: the kernel accepts a second one at once, but QEMU greets it only when the first has left. */
  static async connect(path: string, signal: AbortSignal): Promise<Qmp> {
    const until = Date.now() + GREETING_TIMEOUT_MS;
    while (true) {
      throwIfCancelled(signal);
      const qmp = new Qmp(path, createConnection({ path }));
      try {
        await qmp.#greet(until, signal);
        return qmp;
      } catch (error) {
        await qmp[Symbol.asyncDispose]();
        throwIfCancelled(signal);
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN' && Date.now() + RETRY_MS < until) {
          await sleep(RETRY_MS);
          continue;
        }
        const reason = error instanceof LibvirtError ? error.detail : (error as Error).message;
        const text = `cannot talk to the device model at '${path}': ${reason}`;
        throw new LibvirtError('OPERATION_FAILED', text, { cause: error, ...reasonOf(error) });
      }
    }
  }

  /**
   * Runs a command and gives its return value. Its error names the command, what it was for (`disk 'xvda'`), and what
   * QEMU said. A command that has been sent cannot be undone: there is a time limit, but no signal.
   */
  async execute(command: string, args: object, subject: string): Promise<unknown> {
    const id = ++this.#lastId;
    const failure = (text: string) => `${command} of ${subject} failed: ${text}`;
    using _deadline = this.#destroyAfter(COMMAND_TIMEOUT_MS, `no reply within ${COMMAND_TIMEOUT_MS / 1000} seconds`);
    let reply: QmpMessage;
    try {
      this.#lines.expectReply();
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      do reply = await this.#next();
      while (reply.id !== id && !isUnread(reply));
    } catch (error) {
      const text = `${(error as Error).message} (device model at '${this.#path}')`;
      throw new QmpReplyLost('OPERATION_FAILED', failure(text), { cause: error, ...reasonOf(error) });
    }
    if (reply.error) throw new LibvirtError('OPERATION_FAILED', failure(reply.error.desc));
    return reply.return;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
    await this.#lines[Symbol.asyncDispose]();
  }

  async #greet(until: number, signal: AbortSignal): Promise<void> {
    const abort = () => this.#socket.destroy(new Error('cancelled'));
    signal.addEventListener('abort', abort, { once: true });
    using _deadline = this.#destroyAfter(
      until - Date.now(),
      `no greeting within ${GREETING_TIMEOUT_MS / 1000} seconds, another client holds the monitor`,
    );
    try {
      while (!(await this.#next()).QMP);
      await this.execute('qmp_capabilities', {}, 'the monitor');
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  #destroyAfter(ms: number, reason: string): Disposable {
    return deadline(ms, () => this.#socket.destroy(new Error(reason)));
  }

  async #next(): Promise<QmpMessage> {
    const line = await this.#lines.next();
    if (line === undefined) throw new ConnectionClosed('the device model closed the connection');
    return parseReply(line) as QmpMessage;
  }
}
