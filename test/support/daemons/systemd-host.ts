/**
 * A host of its own with a real systemd: this machine's files, or those of XLSNAP_SYSTEM_ROOT, under an overlay, processes, network, mounts and control
 * groups apart, and nothing of it left afterwards. Needs root.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { IN_OVERLAY, PIVOT } from '../../../scripts/systems.mjs';
import type { Ran } from '../virsh.ts';

const BOOT_TIMEOUT_MS = 60_000;
const COMMAND_TIMEOUT_MS = 180_000;
const POLL_MS = 100;

/** The root folder of another system (scripts/test-systems.mjs). */
const SYSTEM = process.env.XLSNAP_SYSTEM_ROOT ?? '/';

/** systemd's first mounts are its own; udev would see the machine's real devices. $1, $2: those of IN_OVERLAY. $3: the package. */
const BOOT = `
${IN_OVERLAY}
mkdir -p opt/xlsnap
mount --bind "$3" opt/xlsnap
umount -l sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mkdir -p run/systemd/system
for unit in systemd-udevd systemd-udev-trigger; do ln -s /dev/null "run/systemd/system/$unit.service"; done
${PIVOT}
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 container=lab \
  /lib/systemd/systemd --system --unit=sockets.target --show-status=no
`;

/** Where the package lies in every such host. */
export const PACKAGE_THERE = '/opt/xlsnap';

const SOCKET_UNITS = ['xlsnapd.socket', 'xlsnapd-ro.socket', 'xlsnapd-cockpit.socket', 'xlsnapd-cockpit-ro.socket'];

/**
 * A script for a host without Xen, after the first `xlsnap install` there and before the next: the units' conditions are
 * met, and the daemon has these further arguments.
 */
export const asOnXen = (args: string): string => `
  cd /etc/systemd/system
  for unit in xlsnapd.service ${SOCKET_UNITS.join(' ')}; do
    mkdir -p $unit.d && printf '[Unit]\nConditionPathExists=\n' > $unit.d/test.conf
  done
  line=$(grep -h ^ExecStart= xlsnapd.service /usr/lib/systemd/system/xlsnapd.service 2> /dev/null | head -n 1)
  printf '[Service]\nExecStart=\n%s\n' "$line ${args}" >> xlsnapd.service.d/test.conf`;

/** Why there can be none here; undefined where there can. */
export const noSystemdHost: string | undefined =
  process.getuid?.() !== 0
    ? 'a host of its own needs root'
    : existsSync(join(SYSTEM, 'lib/systemd/systemd'))
      ? undefined
      : 'systemd is not installed';

export class SystemdHost implements AsyncDisposable {
  readonly #unshare: ChildProcess;
  readonly #scratch: string;
  readonly #init: number;

  private constructor(unshare: ChildProcess, scratch: string, init: number) {
    this.#unshare = unshare;
    this.#scratch = scratch;
    this.#init = init;
  }

  /** `folder` is the package. Resolves when systemd has bound the sockets that it binds by itself, libvirtd's among them. */
  static async boot(folder: string): Promise<SystemdHost> {
    const scratch = mkdtempSync(join(tmpdir(), 'xlsnap-host-'));
    const words = ['--kill-child', '-fpmCuin', 'sh', '-c', BOOT, 'boot', scratch, SYSTEM, folder];
    const unshare = spawn('unshare', words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    unshare.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    for (const end = Date.now() + BOOT_TIMEOUT_MS; ; await sleep(POLL_MS)) {
      const init = childOf(unshare.pid);
      const host = new SystemdHost(unshare, scratch, init ?? -1);
      if (init !== undefined) {
        const { stdout } = await host.run('systemctl', 'is-system-running');
        if (/^(running|degraded)/.test(stdout)) return host;
      }
      if (unshare.exitCode === null && Date.now() < end) continue;
      await host[Symbol.asyncDispose]();
      throw new Error(`systemd did not start in a host of its own: ${said}`);
    }
  }

  /** Runs a program there, as root; does not reject when it fails. */
  run(...words: readonly string[]): Promise<Ran> {
    const there = ['-t', String(this.#init), '-p', '-m', '-C', '-u', '-i', '-n', ...words];
    return new Promise((done) => {
      execFile('nsenter', there, { timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
        const status = error ? (typeof error.code === 'number' ? error.code : null) : 0;
        done({ status, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() });
      });
    });
  }

  /** Runs a shell script there that must succeed, for its output. */
  async must(script: string): Promise<string> {
    const { status, stdout, stderr } = await this.run('sh', '-ec', script);
    if (status !== 0) throw new Error(`status ${status} from: ${script}\n${stdout}\n${stderr}`);
    return stdout;
  }

  /** The words that run a program as this user of the host's, with the user's groups. */
  static as(user: string): readonly string[] {
    return ['setpriv', '--reuid', user, '--regid', user, '--init-groups'];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#unshare.exitCode === null && this.#unshare.signalCode === null) {
      const ended = once(this.#unshare, 'exit');
      this.#unshare.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#scratch, { recursive: true });
  }
}

/** unshare's child is the host's first process. */
function childOf(pid = -1): number | undefined {
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    return child ? Number(child) : undefined;
  } catch {
    return undefined;
  }
}
