/** Logs who connects and why a connection breaks. Access is controlled by the sockets' modes alone. */

import { isLibvirtError } from '../errors.ts';
import type { SystemCalls } from '../native/system-calls.ts';
import type { ConnectionHandler } from '../rpc/server/server.ts';
import { descriptorOf } from '../rpc/wire/inlet.ts';
import type { Log } from './log.ts';
import { bounded } from './rate-limited-log.ts';

/** Clients that may change something get a line at level info; read-only ones come often, and get theirs at debug. */
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
