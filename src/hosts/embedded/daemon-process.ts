/** A helper daemon that lives as long as a domain runs. If its host is killed, the next host ends it. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, open, readFile, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { missingProgram, type Program } from '../../disks/program.ts';
import { LibvirtError, systemError } from '../../errors.ts';

/** For opening images and sockets. */
const START_TIMEOUT_MS = 10_000;
/** For closing the images, which flushes them. */
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 5;

interface DaemonOptions {
  readonly program: Program;
  readonly args: readonly string[];
  /** The daemon writes this file (`--pidfile`) when it is ready. */
  readonly pidFile: string;
  /** File for the daemon's standard error. */
  readonly logFile: string;
}

/** A started daemon, ready to be used. Disposing ends it and removes its pid file and log. */
export class DaemonProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #files: readonly string[];

  private constructor(child: ChildProcess, files: readonly string[]) {
    this.#child = child;
    this.#files = files;
  }

  /**
   * Resolves when the daemon is ready; rejects (OPERATION_FAILED) with the daemon's own words if it ends before that.
   */
  static async start({ program, args, pidFile, logFile }: DaemonOptions): Promise<DaemonProcess> {
    await using log = await open(logFile, 'w', 0o600);
    // Detached: Ctrl-C at the terminal is for the host, which then ends its daemons in order.
    const child = spawn(program.name, [...args, '--pidfile', pidFile], {
      detached: true,
      stdio: ['ignore', 'ignore', log.fd],
    });
    const daemon = new DaemonProcess(child, [pidFile, logFile]);
    try {
      await once(child, 'spawn').catch((cause) => {
        throw new LibvirtError('OPERATION_FAILED', missingProgram(program), { cause });
      });
      await daemon.#ready(program, pidFile, logFile);
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
    child.unref();
    return daemon;
  }

  /** Its files are closed when this returns. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.ref();
    if (this.#child.pid !== undefined) await endProcess(this.#child.pid, async () => this.#hasEnded);
    for (const file of this.#files) await rm(file, { force: true });
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #ready({ name }: Program, pidFile: string, logFile: string): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await exists(pidFile))) {
      if (this.#hasEnded) throw new LibvirtError('OPERATION_FAILED', (await readFile(logFile, 'utf8')).trim());
      if (Date.now() > deadline) {
        const text = `${name} is not ready after ${START_TIMEOUT_MS / 1000} seconds`;
        throw new LibvirtError('OPERATION_FAILED', text);
      }
      await sleep(POLL_MS);
    }
  }
}

/** Ends the daemon of a host that was killed. If the pid now belongs to another process, leaves it alone. */
export async function endLeftover(program: Program, pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (!(pid > 0)) return;
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  if (args[0] !== program.name || !args.includes(pidFile)) return;
  await endProcess(pid, async () => {
    // It is gone, or a zombie, which has closed its files already.
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    return /^$|\) [ZX] /.test(stat);
  });
}

/** Sends SIGTERM, and after STOP_TIMEOUT_MS SIGKILL. */
async function endProcess(pid: number, hasEnded: () => Promise<boolean>): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (await hasEnded()) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw systemError(error, `Failed to terminate process ${pid} with ${signal}`);
    }
    const deadline = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < deadline) {
      if (await hasEnded()) return;
      await sleep(POLL_MS);
    }
  }
  throw new LibvirtError('OPERATION_FAILED', `process ${pid} does not end`);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
