/** Runs the programs that make snapshots: no shell, no terminal, a time limit, and the program's own words in every error. */

import { type ChildProcess, type ChildProcessByStdio, type StdioOptions, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Readable } from 'node:stream';
import { LibvirtError, throwIfCancelled } from '../errors.ts';

/** A program and the package that has it. */
export interface Program {
  readonly name: string;
  readonly debianPackage: string;
}

/** Enough for the snapshot tables of any image. */
const PROGRAM_TIMEOUT_MS = 300_000;
/** From SIGTERM to SIGKILL. */
const KILL_GRACE_MS = 5_000;
const MAX_OUTPUT_BYTES = 64 << 20;

/** How a program ended: the `cause` of the error that runProgram throws. */
export interface ProgramEnd {
  /** Exit status; null if a signal ended it, or it was never started. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why this module ended it. Then it has failed, whatever its exit status is. */
  readonly stopped?: 'timeout' | 'not-begun' | 'cancelled' | 'output';
}

/** The name of `RunOptions.file` in a program's arguments: the open file itself, whatever its path leads to by now. */
export const OPEN_FILE = '/proc/self/fd/3';

/** runProgram for one that works on a file which this process has open; it is named by its path in the program's words. */
export async function runOnFile(
  program: Program,
  args: readonly string[],
  failure: string,
  file: NonNullable<RunOptions['file']>,
): Promise<string> {
  return await run(program, args, failure, { timeoutMs: PROGRAM_TIMEOUT_MS, file });
}

/**
 * Runs a program and returns its standard output. `failure` begins the message of any error: what could not be done.
 * A program that takes longer than `timeoutMs`, five minutes by default, is ended.
 */
export async function runProgram(
  program: Program,
  args: readonly string[],
  failure: string,
  timeoutMs: number = PROGRAM_TIMEOUT_MS,
): Promise<string> {
  return await run(program, args, failure, { timeoutMs });
}

/** For a program that takes longer the more data there is. */
interface LongRun {
  /** Ends the program, and the error is then that of the cancellation. */
  readonly signal?: AbortSignal;
  /** Receives the standard output as it comes. */
  output?(text: string): void;
  /** Ends a program that has printed nothing by then: it opens files, and what is in the place of one may keep it waiting. */
  readonly beginMs?: number;
  /** A descriptor of this process that becomes the program's standard input; absent: it has none. */
  readonly stdin?: number;
}

/** runProgram without a time limit, but for `beginMs`. */
export async function runLongProgram(
  program: Program,
  args: readonly string[],
  failure: string,
  options: LongRun = {},
): Promise<void> {
  await run(program, args, failure, options);
}

interface RunOptions extends LongRun {
  readonly timeoutMs?: number;
  readonly file?: { readonly fd: number; readonly path: string };
}

type RunningProgram = ChildProcessByStdio<null, Readable, Readable>;

async function run(program: Program, args: readonly string[], failure: string, options: RunOptions): Promise<string> {
  if (options.signal) throwIfCancelled(options.signal);
  const fail = (reason: string, cause: unknown) =>
    new LibvirtError('OPERATION_FAILED', `${failure}: ${reason}`, { cause });
  const env = { ...process.env, LC_ALL: 'C', LVM_SUPPRESS_FD_WARNINGS: '1' };
  const stdio: StdioOptions = [options.stdin ?? 'ignore', 'pipe', 'pipe', options.file?.fd ?? 'ignore'];
  const child = spawn(program.name, args, { env, stdio }) as RunningProgram;
  let end: ProgramEnd;
  try {
    end = await endOf(child, options);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw fail(code === 'ENOENT' ? missingProgram(program) : message, error);
  }
  if (end.stopped === 'cancelled' && options.signal) throwIfCancelled(options.signal);
  if (end.code === 0 && !end.stopped) return end.stdout;
  throw fail(reasonOf(end, program, options), end);
}

/**
 * Waits until the program is gone, also if it had to be killed: as long as it exists it may change a disk. Rejects if it
 * cannot be started.
 */
function endOf(child: RunningProgram, { timeoutMs, beginMs, signal, output }: RunOptions): Promise<ProgramEnd> {
  const texts = { stdout: '', stderr: '' };
  let bytes = 0;
  let stopped: ProgramEnd['stopped'];
  let killTimer: NodeJS.Timeout | undefined;
  // A process that the program has started may hold the pipes open for longer than the program lives.
  const closePipes = () => {
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const stop = (why: NonNullable<ProgramEnd['stopped']>) => {
    if (stopped) return;
    stopped = why;
    if (isRunning(child)) killTimer = terminate(child);
    else closePipes();
  };
  const unbegun = beginMs === undefined ? undefined : setTimeout(() => stop('not-begun'), beginMs);
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      clearTimeout(unbegun);
      bytes += Buffer.byteLength(text);
      if (bytes > MAX_OUTPUT_BYTES) stop('output');
      if (stopped) return;
      texts[name] += text;
      if (name === 'stdout') output?.(text);
    });
  }
  const cancel = () => stop('cancelled');
  signal?.addEventListener('abort', cancel, { once: true });
  const timeout = timeoutMs === undefined ? undefined : setTimeout(() => stop('timeout'), timeoutMs);
  child.once('exit', () => {
    if (stopped) closePipes();
  });
  const ended = new Promise<ProgramEnd>((resolve, reject) => {
    child.once('close', (code, by) => resolve({ code, signal: by, ...texts, ...(stopped && { stopped }) }));
    // Also emitted for a signal that could not be sent, which changes nothing about the wait.
    child.on('error', (error) => child.pid === undefined && reject(error));
  });
  return ended.finally(() => {
    clearTimeout(timeout);
    clearTimeout(unbegun);
    clearTimeout(killTimer);
    signal?.removeEventListener('abort', cancel);
  });
}

/**
 * Asks a program to end, and kills it after a grace if it has not. Returns the timer of that, to be cleared when the
 * program is gone.
 */
export function terminate(child: ChildProcess): NodeJS.Timeout {
  child.kill('SIGTERM');
  return setTimeout(() => child.kill('SIGKILL'), KILL_GRACE_MS);
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** Refuses (55) to begin something that needs a program that is not there. Starts nothing. */
export async function requireProgram(program: Program): Promise<void> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const isThere = await access(join(folder, program.name), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return;
  }
  throw new LibvirtError('OPERATION_INVALID', missingProgram(program));
}

/** The message for a program that is not there: its name, and the package that has it. */
export function missingProgram({ name, debianPackage }: Program): string {
  return `'${name}' is not installed (Debian package ${debianPackage})`;
}

function reasonOf(end: ProgramEnd, { name }: Program, { timeoutMs = 0, beginMs = 0, file }: RunOptions): string {
  if (end.stopped === 'output') return `${name} prints more than ${MAX_OUTPUT_BYTES >> 20} MiB`;
  if (end.stopped === 'timeout') return `${name} took longer than ${timeoutMs / 1000} seconds`;
  if (end.stopped === 'not-begun') {
    return `${name} had not begun after ${beginMs / 1000} seconds: what it opens does not answer, or is a pipe`;
  }
  const words = end.stderr.trim();
  if (words) return file ? words.replaceAll(OPEN_FILE, file.path) : words;
  return `${name} ${end.signal ? `was ended by ${end.signal}` : `failed with status ${end.code}`}`;
}
