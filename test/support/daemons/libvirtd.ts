/** A private libvirtd with its own folders: the test driver is always there, nothing of the machine's is touched. */

import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeFrame, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES } from '../../../src/rpc/wire/procedures.ts';

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 50;

/** As root libvirtd would take the system's folders; as this one (nobody) it takes its own. */
const UNPRIVILEGED = 65_534;

/** A folder for an xlsnapd whose libvirtd, not root, writes the memory images itself. */
export async function folderForLibvirtd(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  await chmod(folder, 0o755);
  return folder;
}

export interface Libvirtd extends AsyncDisposable {
  readonly directory: string;
  /** There is no read-only one: a session daemon makes none. */
  readonly socket: string;
  /** Ends the daemon, as a crash would; the folders stay until it is disposed of. */
  kill(): Promise<void>;
}

interface LibvirtdOptions {
  /** The test driver's domains live as long as somebody is connected to them; a connection of its own is held (default). */
  readonly keep?: boolean;
  /** auth_unix_rw; with polkit only root can connect, because no polkit answers. Default: none. */
  readonly auth?: 'none' | 'polkit';
  /** Of the qemu driver, by file name. */
  readonly config?: Readonly<Record<string, string>>;
  /** Scripts that are found before the machine's programs. */
  readonly programs?: Readonly<Record<string, string>>;
}

/** With the defaults, domains outlast the commands of a test. */
export async function startLibvirtd(options: LibvirtdOptions = {}): Promise<Libvirtd> {
  const { keep = true, auth = 'none', config: settings = {}, programs = {} } = options;
  const directory = await mkdtemp(join(tmpdir(), 'xlsnap-libvirtd-'));
  const sockets = join(directory, 'sock');
  const config = join(directory, 'libvirtd.conf');
  const log = join(directory, 'libvirtd.log');
  const names = ['sock', 'home', 'run', 'cache', 'data', 'config', 'config/libvirt', 'bin'];
  const folders = names.map((name) => join(directory, name));
  for (const folder of folders) await mkdir(folder, { mode: 0o700 });
  await writeFile(
    config,
    [
      `unix_sock_dir = "${sockets}"`,
      'unix_sock_rw_perms = "0777"',
      `auth_unix_rw = "${auth}"`,
      `log_outputs = "3:file:${log}"`,
      '',
    ].join('\n'),
  );
  for (const [name, text] of Object.entries(settings)) await writeFile(join(directory, 'config/libvirt', name), text);
  for (const [name, text] of Object.entries(programs))
    await writeFile(join(directory, 'bin', name), text, { mode: 0o755 });
  const user = process.getuid?.() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  if (user.uid !== undefined) {
    for (const path of [directory, config, ...folders]) await chown(path, user.uid, user.gid);
    await chmod(sockets, 0o755);
    await chmod(directory, 0o755);
  }
  const daemon = spawn('libvirtd', ['--config', config, '--pid-file', join(directory, 'libvirtd.pid')], {
    ...user,
    stdio: 'ignore',
    env: {
      PATH: `${join(directory, 'bin')}:/usr/sbin:/usr/bin:/sbin:/bin`,
      HOME: join(directory, 'home'),
      XDG_RUNTIME_DIR: join(directory, 'run'),
      XDG_CACHE_HOME: join(directory, 'cache'),
      XDG_DATA_HOME: join(directory, 'data'),
      XDG_CONFIG_HOME: join(directory, 'config'),
      LC_ALL: 'C.UTF-8',
    },
  });
  const socket = join(sockets, 'libvirt-sock');
  await listening(daemon, socket, log);
  const keeper = keep ? await openTestDriver(socket) : undefined;
  const kill = async (): Promise<void> => {
    keeper?.destroy();
    await stop(daemon);
  };
  return {
    directory,
    socket,
    kill,
    async [Symbol.asyncDispose]() {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function listening(daemon: ChildProcess, socket: string, log: string): Promise<void> {
  const failed = new Promise<Error>((resolve) => daemon.once('error', resolve));
  const until = performance.now() + START_TIMEOUT_MS;
  while (!(await accepts(socket))) {
    const error = await Promise.race([failed, delay(POLL_MS)]);
    if (!error && daemon.exitCode === null && performance.now() < until) continue;
    daemon.kill('SIGKILL');
    throw error ?? new Error(`libvirtd does not listen at ${socket}:\n${await readFile(log, 'utf8').catch(() => '')}`);
  }
}

/** The socket is there a moment before anybody listens at it. */
async function accepts(path: string): Promise<boolean> {
  const socket = connect(path);
  const connected = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  const accepted = await connected;
  socket.destroy();
  return accepted;
}

async function stop(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const exited = new Promise((resolve) => daemon.once('exit', resolve));
  daemon.kill('SIGTERM');
  const timer = setTimeout(() => daemon.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/** An idle connection to `test:///default`. */
async function openTestDriver(path: string): Promise<Socket> {
  const socket = connect(path);
  const answer = () => new Promise((resolve) => socket.once('data', resolve));
  const { AUTH_LIST, CONNECT_OPEN } = PROCEDURES;
  socket.write(encodeFrame({ procedure: AUTH_LIST.number, type: TYPE.CALL, serial: 0 }, AUTH_LIST.args, undefined));
  await answer();
  const open = { name: 'test:///default', flags: 0 };
  socket.write(encodeFrame({ procedure: CONNECT_OPEN.number, type: TYPE.CALL, serial: 1 }, CONNECT_OPEN.args, open));
  await answer();
  return socket;
}
