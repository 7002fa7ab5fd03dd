/** Programs that the backends run: no shell, no terminal, a time limit, and their own words in every error. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LibvirtError, throwIfCancelled } from '../errors.ts';

/** A program and where it comes from. */
export interface Program {
  readonly name: string;
  readonly debianPackage: string;
}

/** Enough for the snapshot tables of any image; a program that hangs longer is ended. */
const PROGRAM_TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 64 << 20;

/** What execFile rejects with. */
interface ProgramFailure extends Error {
  readonly code?: number | string;
  readonly killed?: boolean;
  readonly signal?: NodeJS.Signals | null;
  readonly stderr?: string;
}

/** Runs a program and gives its standard output. `failure` begins the message of any error: what could not be done. */
export async function runProgram(program: Program, args: readonly string[], failure: string): Promise<string> {
  try {
    return await execute(program, args, { timeout: PROGRAM_TIMEOUT_MS });
  } catch (error) {
    throw failed(failure, program, error);
  }
}

/** Of a program that takes as long as the data is large. */
interface LongRun {
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** What it prints, as it comes. */
  output?(text: string): void;
}

/** runProgram without a time limit. */
export async function runLongProgram(
  program: Program,
  args: readonly string[],
  failure: string,
  { signal, output }: LongRun = {},
): Promise<void> {
  try {
    await execute(program, args, { signal }, output);
  } catch (error) {
    if (signal) throwIfCancelled(signal);
    throw failed(failure, program, error);
  }
}

async function execute(
  program: Program,
  args: readonly string[],
  options: { readonly timeout?: number; readonly signal?: AbortSignal | undefined },
  output?: (text: string) => void,
): Promise<string> {
  const running = promisify(execFile)(program.name, args, {
    env: { ...process.env, LC_ALL: 'C', LVM_SUPPRESS_FD_WARNINGS: '1' },
    maxBuffer: MAX_OUTPUT_BYTES,
    ...options,
  });
  if (output) running.child.stdout?.on('data', output);
  return (await running).stdout;
}

function failed(failure: string, program: Program, error: unknown): LibvirtError {
  const text = `${failure}: ${reasonOf(error as ProgramFailure, program)}`;
  return new LibvirtError('OPERATION_FAILED', text, { cause: error });
}

/** For a program that is not there: its name, and where it comes from. */
export function missingProgram({ name, debianPackage }: Program): string {
  return `'${name}' is not installed (Debian package ${debianPackage})`;
}

function reasonOf(error: ProgramFailure, program: Program): string {
  if (error.code === 'ENOENT') return missingProgram(program);
  if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return `${program.name} prints more than ${MAX_OUTPUT_BYTES >> 20} MiB`;
  if (error.killed) return `${program.name} took longer than ${PROGRAM_TIMEOUT_MS / 1000} seconds`;
  const said = error.stderr?.trim();
  if (said) return said;
  return `${program.name} ${error.signal ? `was ended by ${error.signal}` : `failed with status ${error.code}`}`;
}
