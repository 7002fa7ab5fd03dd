/** Who connects, and why a connection breaks: access is a matter of the sockets' modes, and nobody else keeps it. */

import { isLibvirtError } from '../errors.ts';
import type { SystemCalls } from '../native/system-calls.ts';
import type { ConnectionHandler } from '../rpc/server/server.ts';
import { descriptorOf } from '../rpc/wire/inlet.ts';
import type { Log } from './log.ts';
import { bounded } from './rate-limited-log.ts';

/** Clients that may change something are worth a line; those that only look come by the minute. */
export function logged(
  handler: ConnectionHandler,
  { peerCredentials }: Pick<SystemCalls, 'peerCredentials'>,
  log: Log,
): ConnectionHandler {
  const complain = bounded(log.warning);
  return (socket, readOnly) => {
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerCredentials(fd);
    const who = peer ? `pid ${peer.pid}, uid ${peer.uid}, gid ${peer.gid}` : 'unknown';
    log[readOnly ? 'debug' : 'info'](`client connected${readOnly ? ' (read-only)' : ''}: ${who}`);
    socket.on('error', (error) => {
      // What the kernel reports is a client that has gone in its own way.
      const say = isLibvirtError(error) ? complain : log.debug;
      say(`client disconnected: ${who}: ${error.message}`);
    });
    handler(socket, readOnly);
  };
}
