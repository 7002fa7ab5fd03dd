/** As many clients as asked for, but never so many that no file descriptors are left for the work itself. */

import { openFilesMax } from '../files/descriptors.ts';
import type { SystemCalls } from '../native/system-calls.ts';
import { ClientLimit } from '../rpc/server/client-limit.ts';
import type { Log } from './log.ts';
import type { DaemonOptions } from './options.ts';
import { bounded } from './rate-limited-log.ts';

/** Descriptors for files, programs, device models and the bus: far more than one job has open. */
const RESERVED = 256;

/** Those that the daemon binds itself: write and read-only. */
const OWN_SOCKETS = 2;

/** The limit of each socket; `sockets` of them are systemd's. */
export function clientLimits(
  { maxClients, upstream }: Pick<DaemonOptions, 'maxClients' | 'upstream'>,
  { sockets, system, log }: { sockets: number; system: Pick<SystemCalls, 'peerCredentials'>; log: Log },
): () => ClientLimit {
  // Each client of a proxy has a connection of its own to the upstream.
  const descriptors = upstream === undefined ? 1 : 2;
  const places = Math.max(sockets, OWN_SOCKETS) * descriptors;
  const max = Math.max(1, Math.min(maxClients, Math.floor((openFilesMax() - RESERVED) / places)));
  if (max < maxClients)
    log.warning(`at most ${max} clients a socket: the limit of open files (LimitNOFILE) allows no more`);
  const dropped = bounded(log.warning);
  return () => new ClientLimit({ max, peerOf: system.peerCredentials, dropped });
}
