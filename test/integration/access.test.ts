/** Who may come in, and by which door: the built daemon, as systemd starts it and as an administrator does. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { virsh } from '../support/virsh.ts';

const MAIN = resolve(import.meta.dirname, '../../dist/daemon/main.js');
const WAIT_MS = 20_000;

/** What systemd does for a service: binds its sockets, hands them over as descriptors 3 and on, and listens to it. */
const SERVICE_MANAGER = `
import os, socket, sys
home, names, main = sys.argv[1], sys.argv[2], sys.argv[3:]
paths = [home + '/' + name for name in names.split(':')]
heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind(home + '/notify')
fds = []
for path in paths:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound.bind(path)
    bound.listen(8)
    fds.append(os.dup(bound.fileno()))
pid = os.fork()
if pid == 0:
    for index, fd in enumerate(fds):
        os.dup2(fd, 100 + index)
    for index in range(len(fds)):
        os.dup2(100 + index, 3 + index)
        os.set_inheritable(3 + index, True)
        os.close(100 + index)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names, NOTIFY_SOCKET=home + '/notify')
    os.execvp(main[0], main)
print('pid', pid, flush=True)
heard.settimeout(30)
while True:
    word = heard.recv(4096).decode()
    print(word, flush=True)
    if word == 'STOPPING=1':
        break
print('exit', os.waitpid(pid, 0)[1], flush=True)
`;

let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnap-access-'));
});

afterEach(async () => {
  await rm(home, { recursive: true });
});

/** Waits until \`text()\` contains \`part\`. */
async function said(text: () => string, part: string | RegExp): Promise<void> {
  for (const end = Date.now() + WAIT_MS; ; await delay(20)) {
    if (typeof part === 'string' ? text().includes(part) : part.test(text())) return;
    if (Date.now() > end) throw new Error(`never said ${part}: ${text()}`);
  }
}

const uriOf = (name: string): string => `test+unix:///default?socket=${join(home, name)}`;

test('sockets of systemd are served by their names, and systemd hears when', async () => {
  const daemon = [
    ...[process.execPath, MAIN, '--connect', 'test:///default', '--state-dir', join(home, 'state')],
    ...['--snapshot-dir', join(home, 'snapshot'), '--memory-dir', join(home, 'memory'), '--log-level', 'debug'],
  ];
  const manager: ChildProcess = spawn(
    'python3',
    ['-c', SERVICE_MANAGER, home, 'xlsnapd-ro.socket:xlsnapd.socket', ...daemon],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let heard = '';
  let log = '';
  manager.stdout?.setEncoding('utf8').on('data', (text: string) => (heard += text));
  manager.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
  await said(() => heard + log, /READY=1|error/);
  const pid = Number(/pid (\d+)/.exec(heard)?.[1]);
  try {
    expect(heard).toContain('READY=1');
    expect(log).toContain('listening at file descriptor 3 (read-only), as systemd has bound it');
    expect(await virsh(uriOf('xlsnapd.socket'), 'snapshot-create-as', 'test', 's1')).toMatchObject({ status: 0 });
    const refused = await virsh(uriOf('xlsnapd-ro.socket'), 'snapshot-delete', 'test', 's1');
    expect(refused.stderr).toContain('read only access prevents virDomainSnapshotDelete');
    const me = `uid ${process.getuid?.()}, gid ${process.getgid?.()}`;
    expect(log).toMatch(new RegExp(`info: client connected: pid \\d+, ${me}`));
    expect(log).toMatch(new RegExp(`debug: client connected \\(read-only\\): pid \\d+, ${me}`));
    // A child of the daemon that kept a socket would keep clients waiting when the daemon has gone.
    const { stdout } = await promisify(execFile)('sh', [
      '-c',
      'ls -l /proc/$(pgrep -P "$0" -f qemu-storage | head -1)/fd',
      `${pid}`,
    ]);
    const inherited = (await promisify(execFile)('ls', ['-l', `/proc/${pid}/fd`])).stdout;
    const [, listening = 'none'] = /\b3 -> (socket:\[\d+\])/.exec(inherited) ?? [];
    expect(listening).toMatch(/^socket/);
    expect(stdout).not.toContain(listening);
  } finally {
    process.kill(pid, 'SIGTERM');
  }
  await once(manager, 'close');
  expect(heard).toMatch(/READY=1\nSTOPPING=1\nexit 0/);
  // The file is systemd's.
  expect((await stat(join(home, 'xlsnapd.socket'))).isSocket()).toBe(true);
}, 60_000);

test('without systemd the sockets are the group’s, and each client is named in the log', async () => {
  await using daemon = await Xlsnapd.start({ args: ['--mode', '0600', '--group', 'daemon'] });
  for (const path of [daemon.socket, `${daemon.socket}-ro`]) {
    const { mode, gid } = await stat(path);
    expect(mode & 0o777).toBe(0o600);
    expect(gid).toBe(1);
  }
  await daemon.ok('list');
  await said(() => daemon.log, new RegExp(`client connected: pid \\d+, uid ${process.getuid?.()}`));
  expect(daemon.log).not.toContain('(read-only): pid');
});

test('by default they are of mode 0660, and of group libvirt where there is one', async () => {
  await using daemon = await Xlsnapd.start();
  const { mode, gid } = await stat(daemon.socket);
  expect(mode & 0o777).toBe(0o660);
  const group = await promisify(execFile)('getent', ['group', 'libvirt']).catch(() => undefined);
  expect(gid).toBe(group ? Number(group.stdout.split(':')[2]) : process.getgid?.());
});
