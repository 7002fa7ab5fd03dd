/** The real virsh, one command at a time. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';

const TIMEOUT_MS = 30_000;

export interface Ran {
  readonly status: number | null;
  /** Without the empty lines that virsh ends everything with. */
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Does not reject when virsh fails: the exit status and its words are there to be looked at. Commands that listen for
 * a while may be awaited later; their output is read from the start.
 */
export async function virsh(uri: string, ...args: readonly string[]): Promise<Ran> {
  const child = spawn('virsh', ['-c', uri, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    env: { ...process.env, LC_ALL: 'C.UTF-8' },
  });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { status: child.exitCode, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
}
