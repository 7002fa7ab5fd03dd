/** How a client reaches a daemon: by a socket of this machine, or by a program whose standard input and output lead to one. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { systemError } from '../../errors.ts';

/** As much of what a program complains of goes into an error. */
const COMPLAINT_MAX = 1_000;

/** Rejects with libvirt's own "Failed to connect socket to '<path>': <reason>". */
export async function dialSocket(path: string, signal: AbortSignal): Promise<Socket> {
  const socket = createConnection(path);
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    throw systemError(error, `Failed to connect socket to '${path}'`, 'RPC');
  }
}

/**
 * Starts the program. If it ends, so does the stream, with libvirt's "Cannot recv data: <what it complained of>: Connection
 * reset by peer". Destroying the stream ends the program.
 */
export async function dialProgram(command: readonly string[], signal: AbortSignal): Promise<Duplex> {
  const [program = '', ...args] = command;
  // In a process group of its own, Ctrl-C is for the caller, who cancels what is under way over this connection.
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-COMPLAINT_MAX);
  });
  try {
    await once(child, 'spawn', { signal });
  } catch (error) {
    child.on('error', () => {}).kill();
    throw systemError(error, `Cannot execute binary ${program}`, 'RPC');
  }
  const stream = new Duplex({
    read: () => child.stdout.resume(),
    // If it reads no more, it ends, and says why.
    write: (chunk, _, done) => void child.stdin.write(chunk, () => done()),
    final: (done) => void child.stdin.end(done),
    destroy(error, done) {
      child.kill();
      done(error);
    },
  });
  child.stdin.on('error', () => {});
  child.stdout.on('data', (chunk) => stream.push(chunk) || child.stdout.pause());
  child.once('close', () => {
    const reset = Object.assign(new Error('read ECONNRESET'), { errno: -104, code: 'ECONNRESET' });
    const why = complaint.trim().replace(/\s*\n\s*/g, '; ');
    stream.destroy(systemError(reset, why ? `Cannot recv data: ${why}` : 'Cannot recv data', 'RPC'));
  });
  return stream;
}
