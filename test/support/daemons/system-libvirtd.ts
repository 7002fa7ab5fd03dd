/**
 * A libvirtd of root's, with a read-only socket, as a host's own: a session daemon has none. It has the system's folders
 * for itself in a mount namespace of its own, so that nothing of the machine's is touched. Needs root.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 50;

/** Folders of libvirtd's, and what they are in a test's folder. */
const FOLDERS = {
  run: '/run/libvirt',
  lib: '/var/lib/libvirt',
  cache: '/var/cache/libvirt',
  log: '/var/log/libvirt',
  etc: '/etc/libvirt',
} as const;

export interface SystemLibvirtd extends AsyncDisposable {
  readonly directory: string;
  readonly socket: string;
  /** `socket` with `-ro`. */
  readonly readOnlySocket: string;
}

/** `settings`: further lines of libvirtd.conf. */
export async function startSystemLibvirtd(settings: readonly string[] = []): Promise<SystemLibvirtd> {
  const directory = await mkdtemp(join(tmpdir(), 'xlsnap-system-libvirtd-'));
  const config = join(directory, 'libvirtd.conf');
  const mounts: string[] = [];
  for (const [name, target] of Object.entries(FOLDERS)) {
    await mkdir(join(directory, name), { mode: 0o755 });
    mounts.push(`mkdir -p ${target} && mount --bind ${join(directory, name)} ${target}`);
  }
  await writeFile(
    config,
    [
      'auth_unix_rw = "none"',
      'auth_unix_ro = "none"',
      'unix_sock_rw_perms = "0777"',
      'unix_sock_ro_perms = "0777"',
      `log_outputs = "3:file:${join(directory, 'libvirtd.log')}"`,
      ...settings,
      '',
    ].join('\n'),
  );
  const libvirtd = `exec libvirtd --config ${config} --pid-file ${join(directory, 'pid')}`;
  const script = [...mounts, libvirtd].join(' && ');
  const daemon = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script], { stdio: 'ignore' });
  const exited = once(daemon, 'exit');
  const socket = join(directory, 'run/libvirt-sock');
  const readOnlySocket = `${socket}-ro`;
  const end = async (): Promise<void> => {
    daemon.kill('SIGTERM');
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  for (const until = Date.now() + START_TIMEOUT_MS; !(await answers(readOnlySocket)); await delay(POLL_MS)) {
    if (daemon.exitCode === null && Date.now() < until) continue;
    await end();
    throw new Error(`libvirtd does not listen at ${readOnlySocket}`);
  }
  return { directory, socket, readOnlySocket, [Symbol.asyncDispose]: end };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => resolve(true));
    socket.on('connect', () => socket.destroy()).on('error', () => resolve(false));
  });
}
