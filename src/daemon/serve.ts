/** Connects a host, the snapshots policy and the sockets of clients. */

import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Entries, Entry } from '../access/authentication.ts';
import { Callers } from '../dbus/callers.ts';
import { OfflineImages } from '../disks/offline-snapshots.ts';
import { LibvirtError, systemError } from '../errors.ts';
import type { SystemCalls } from '../native/system-calls.ts';
import type { ClientLimit } from '../rpc/server/client-limit.ts';
import { LifecycleHub } from '../rpc/server/lifecycle-hub.ts';
import { type ConnectionHandler, type ListenOptions, listen, listenAtFd } from '../rpc/server/server.ts';
import { isQemuSocket } from '../rpc/sockets.ts';
import { Jobs } from '../snapshots/jobs.ts';
import { SnapshotService } from '../snapshots/service.ts';
import { ownFiles } from '../store/default-folders.ts';
import { lockFolders } from '../store/folder-lock.ts';
import { MemoryFiles } from '../store/memory-folder.ts';
import { FileJournal } from '../store/records/journal.ts';
import { ProtectedFiles } from '../store/records/protected-names.ts';
import { SnapshotFiles } from '../store/snapshot-files.ts';
import { openAccess } from './access.ts';
import { openBesides } from './besides.ts';
import { clientLimits } from './client-limits.ts';
import { openDbus } from './dbus.ts';
import { Opened } from './disposables.ts';
import { reporting } from './fault-test-steps.ts';
import { openHost } from './hosts/open-host.ts';
import type { Log } from './log.ts';
import { logged } from './log-clients.ts';
import type { DaemonOptions } from './options.ts';
import type { ActivatedSocket } from './systemd.ts';

/** Environment variable with the socket of a fault test. */
const STEPS_VARIABLE = 'XLSNAPD_STEPS';

/** The process's part besides the options: its log, system calls and inherited sockets. */
interface Given {
  readonly log: Log;
  readonly system: SystemCalls;
  /** Bound by systemd; used instead of binding our own. */
  readonly sockets: readonly ActivatedSocket[];
}

/** Serves until disposed of. Rejects, with nothing left open, if something that is needed is missing. */
export async function serve(options: DaemonOptions, given: Given): Promise<AsyncDisposable> {
  const opened = new Opened();
  try {
    await openAll(options, given, opened);
    return opened;
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

async function openAll(options: DaemonOptions, { log, system, sockets }: Given, opened: Opened): Promise<void> {
  opened.use(await lockFolders([options.stateDir, options.snapshotDir, options.memoryDir], system.lockFile));
  const hub = new LifecycleHub();
  const bound = sockets.map((socket) => withPath(socket, system.socketPath(socket.fd)));
  const access = await openAccess(options, { sockets: bound, log, opened });
  const openedHost = await openHost(options, { hub, log, system, access, opened });
  const { host, mechanism, imageWriter, domains, acl, upstream } = openedHost;
  const files = new FileJournal(options.stateDir, log.warning, mechanism);
  const steps = process.env[STEPS_VARIABLE];
  const journal = steps === undefined ? files : reporting(files, steps);
  const memory = new MemoryFiles(options.memoryDir, imageWriter);
  await memory.open();
  const snapshots = opened.use(
    await SnapshotService.open({
      host,
      images: new OfflineImages(),
      store: new SnapshotFiles(options.snapshotDir, log.warning),
      memory,
      protectedNames: await ProtectedFiles.open(options.stateDir, log.warning),
      ownFiles: ownFiles(options),
      events: hub,
      journal,
      jobs: new Jobs(journal),
      log: log.warning,
    }),
  );
  const besides = await openBesides(options, openedHost, { context: snapshots.context, hub, log, opened });
  const gid = await groupId(options.group);
  const limit = clientLimits(options, { sockets: bound.length, system, log });
  await listenAll(
    options,
    {
      sockets: bound,
      entries: access.entries,
      gid,
      handler: logged(openedHost.front(snapshots, besides), log),
      limit,
      log,
    },
    opened,
  );
  if (options.dbus !== undefined) {
    const path =
      sockets.length > 0 ? bound.find(({ readOnly, forQemu }) => !readOnly && !forQemu)?.path : options.listen;
    const socket = path === undefined ? ROOT_ONLY : await stat(path);
    const served = { domains: domains(snapshots), snapshots, hub, ...(upstream && { upstream }) };
    await openDbus(
      {
        bus: options.dbus,
        uri: options.connect,
        ...served,
        callers: new Callers({ socket, entry: access.entries.write, acl }),
        log,
      },
      opened,
    );
  }
  opened.use({ [Symbol.asyncDispose]: () => endJobs(snapshots) });
}

/** Ends jobs before connections, so that clients that wait for a job hear of its end. */
async function endJobs(snapshots: AsyncDisposable): Promise<void> {
  await snapshots[Symbol.asyncDispose]();
  await setImmediate();
}

/** For D-Bus without a socket: callers other than root are refused. */
const ROOT_ONLY = { uid: 0, gid: 0, mode: 0 };

/** A socket that systemd has bound. */
interface BoundSocket extends ActivatedSocket {
  readonly path: string | undefined;
  /** Its clients ask for qemu:///system. */
  readonly forQemu: boolean;
}

const withPath = (socket: ActivatedSocket, path: string | undefined): BoundSocket => ({
  ...socket,
  path,
  forQemu: path !== undefined && isQemuSocket(path),
});

/** How clients connect. */
interface Entrance extends Pick<Given, 'log'> {
  readonly sockets: readonly BoundSocket[];
  readonly entries: Entries;
  readonly gid: number | undefined;
  readonly handler: ConnectionHandler;
  /** One for each socket. */
  readonly limit: () => ClientLimit;
}

async function listenAll(
  options: DaemonOptions,
  { sockets, entries, gid, handler, limit, log }: Entrance,
  opened: Opened,
): Promise<void> {
  for (const { fd, readOnly, forQemu } of sockets) {
    const served = { readOnly, clients: limit(), ...(forQemu && { qemuSystem: options.connect }) };
    const { path } = opened.use(await listenAtFd(fd, served, handler));
    log.info(`listening at ${path}${readOnly ? ' (read-only)' : ''}, as systemd has bound it`);
  }
  if (sockets.length > 0) return;
  for (const { path, readOnly } of [
    { path: options.listen, readOnly: false },
    { path: options.listenReadOnly, readOnly: true },
  ]) {
    const access = {
      mode: options.mode ?? modeFor(readOnly ? entries.readOnly : entries.write),
      ...(gid !== undefined && { gid }),
    };
    opened.use(await listenAt({ path, readOnly, ...access, clients: limit() }, handler));
    log.info(`listening at ${path}${readOnly ? ' (read-only)' : ''}`);
  }
}

/** If polkit decides, everybody may ask to be let in, as with libvirtd. */
const modeFor = ({ scheme }: Entry): number => (scheme === 'polkit' ? 0o666 : 0o660);

async function listenAt(options: ListenOptions, handler: ConnectionHandler): Promise<AsyncDisposable> {
  const { path } = options;
  await mkdir(dirname(path), { recursive: true }).catch((error) => {
    throw systemError(error, `Failed to make the folder of socket '${path}'`);
  });
  return await listen(options, handler);
}

/** Group of the sockets if none is asked for: the one that may use libvirt on this host. */
const DEFAULT_GROUP = 'libvirt';

async function groupId(name: string | undefined): Promise<number | undefined> {
  if (name === undefined && process.getuid?.() !== 0) return undefined;
  const groups = await readFile('/etc/group', 'utf8');
  const entry = groups.split('\n').find((line) => line.startsWith(`${name ?? DEFAULT_GROUP}:`));
  if (entry) return Number(entry.split(':')[2]);
  if (name === undefined) return undefined;
  throw new LibvirtError('INVALID_ARG', `there is no group '${name}' on this host (--group)`);
}
