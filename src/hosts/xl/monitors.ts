/**
 * The monitors of guests: processes of xl that wait for the guest to end. Until Xen 4.19 a monitor takes the suspend of a save
 * for the guest's end and leaves, and then nobody acts on the next reboot or shutdown. It looks at the guest only when it
 * runs: one that is stopped from before the suspend until after the resume notices nothing.
 */

import { mkdir, open, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtError, systemError } from '../../errors.ts';

/** Of its log, which says in its last lines what it waits for. */
const TAIL_BYTES = 16 << 10;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 2;

/** A process, which another one with the same pid is not. */
interface Process {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

/** Holds monitors, and keeps a record of those that are held: a daemon that was killed leaves them to the next one. */
export class Monitors {
  readonly #folder: string;
  readonly #proc: string;

  /** `stateDir`: for the records. */
  constructor(stateDir: string, proc = '/proc') {
    this.#folder = join(stateDir, 'held-monitors');
    this.#proc = proc;
  }

  /** Stops the monitor of a domain until disposed of. Undefined if it has none. */
  async hold(domid: number): Promise<AsyncDisposable | undefined> {
    const found = await this.find(domid);
    if (!found) return undefined;
    await this.#record(found, domid);
    const held = { [Symbol.asyncDispose]: () => this.#release(found) };
    try {
      signal(found.pid, 'SIGSTOP');
      await this.#stopped(found, domid);
      return held;
    } catch (error) {
      await held[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Continues monitors that an earlier daemon has left stopped: of the domains that `isSettled` is true for. */
  async releaseLeft(isSettled: (domid: number) => boolean): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const [domid, startTime = ''] = (await readFile(join(this.#folder, name), 'utf8')).split(' ');
      if (isSettled(Number(domid))) await this.#release({ pid: Number(name), startTime });
    }
  }

  /** The process of xl whose log says that it waits for this domain. */
  async find(domid: number): Promise<Process | undefined> {
    for (const name of await readdir(this.#proc)) {
      const pid = Number(name);
      if (!(pid > 0) || !(await this.#waitsFor(pid, domid))) continue;
      const startTime = (await this.#stat(pid))?.startTime;
      if (startTime !== undefined) return { pid, startTime };
    }
    return undefined;
  }

  /** Its standard output is the log, also if that was renamed since. */
  async #waitsFor(pid: number, domid: number): Promise<boolean> {
    const folder = join(this.#proc, String(pid));
    const program = await readlink(join(folder, 'exe')).catch(() => '');
    if (basename(program) !== 'xl') return false;
    const log = await readlink(join(folder, 'fd/1')).catch(() => '');
    if (!basename(log).startsWith('xl-')) return false;
    const text = await tailOf(join(folder, 'fd/1')).catch(() => '');
    const last = [...text.matchAll(/\(domid (\d+)\) to die \[pid (\d+)\]/g)].findLast(
      (match) => Number(match[2]) === pid,
    );
    return last !== undefined && Number(last[1]) === domid;
  }

  async #record({ pid, startTime }: Process, domid: number): Promise<void> {
    const path = join(this.#folder, String(pid));
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeFile(path, `${domid} ${startTime}`, { mode: 0o600, flush: true });
    } catch (error) {
      throw systemError(error, `cannot record in '${path}' that the monitor of a guest is stopped`);
    }
  }

  async #release(process: Process): Promise<void> {
    if ((await this.#stat(process.pid))?.startTime === process.startTime) signal(process.pid, 'SIGCONT');
    await rm(join(this.#folder, String(process.pid)), { force: true });
  }

  /** The signal takes effect when the process runs next. */
  async #stopped({ pid }: Process, domid: number): Promise<void> {
    for (const end = performance.now() + STOP_TIMEOUT_MS; ; await sleep(POLL_MS)) {
      const state = (await this.#stat(pid))?.state;
      if (state === 'T' || state === 't' || state === undefined) return;
      if (performance.now() < end) continue;
      const text = `the monitor of domain '${domid}', process ${pid}, does not stop: it would leave at the suspend`;
      throw new LibvirtError('OPERATION_TIMEOUT', text);
    }
  }

  async #stat(pid: number): Promise<{ readonly state: string; readonly startTime: string } | undefined> {
    const text = await readFile(join(this.#proc, String(pid), 'stat'), 'latin1').catch(() => '');
    // The name, in parentheses, may have spaces.
    const [state = '', ...fields] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return state === '' || state === 'Z' ? undefined : { state, startTime: fields[18] ?? '' };
  }
}

/** A process that is gone needs no signal. */
function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH')
      throw systemError(error, `cannot send ${name} to process ${pid}`);
  }
}

async function tailOf(path: string): Promise<string> {
  await using file = await open(path);
  const { size } = await file.stat();
  const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, size - buffer.length);
  return buffer.toString('utf8', 0, bytesRead);
}
