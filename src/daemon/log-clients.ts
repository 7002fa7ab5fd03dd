/** Logs who connects and why a connection breaks. */

import { isLibvirtError } from '../errors.ts';
import type { ConnectionHandler } from '../rpc/server/server.ts';
import type { Log } from './log.ts';
import { bounded } from './rate-limited-log.ts';

/** Clients that may change something get a line at level info; read-only ones come often, and get theirs at debug. */
export function logged(handler: ConnectionHandler, log: Log): ConnectionHandler {
  const complain = bounded(log.warning);
  return (socket, client) => {
    const { readOnly, peer } = client;
    const who = peer ? `pid ${peer.pid}, uid ${peer.uid}, gid ${peer.gid}` : 'unknown';
    log[readOnly ? 'debug' : 'info'](`client connected${readOnly ? ' (read-only)' : ''}: ${who}`);
    socket.on('error', (error) => {
      // The kernel's errors mean only that a client has disconnected without closing.
      const say = isLibvirtError(error) ? complain : log.debug;
      say(`client disconnected: ${who}: ${error.message}`);
    });
    handler(socket, client);
  };
}
