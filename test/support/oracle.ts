/** Recorded commands of the real libvirt (`../shared/oracle`), and the same commands run against another server. */

import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ORACLE = resolve(import.meta.dirname, '../../../shared/oracle');
const CASE_TIMEOUT_MS = 300_000;

export interface RecordedCommand {
  readonly number: number;
  readonly command: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly rc: number;
  readonly events: readonly string[];
}

/** What libvirt's test driver did in this case. */
export async function recorded(name: string): Promise<readonly RecordedCommand[]> {
  return parse(await readFile(join(ORACLE, 'transcripts/test', `${name}.txt`), 'utf8'));
}

interface CaseOptions {
  readonly uri: string;
  /** Which of the oracle's definitions of domains are used; `xen` renames disks in the case, and back in its output. */
  readonly flavour: 'test' | 'xen';
  /** A folder for this case alone. */
  readonly directory: string;
  /** A folder with another `virsh` in it. */
  readonly programs?: string;
}

/** Runs a case with fresh disk images, and tells what came out of each of its commands. */
export async function runCase(
  name: string,
  { uri, flavour, directory, programs }: CaseOptions,
): Promise<readonly RecordedCommand[]> {
  const images = join(directory, 'img');
  await mkdir(images, { recursive: true });
  const path = programs ? { PATH: `${programs}:${process.env.PATH}` } : {};
  const env = { ...process.env, ...path, ORACLE_DIR: directory, IMG: images, TMPDIR: directory };
  const run = (script: string, ...args: readonly string[]) =>
    promisify(execFile)(join(ORACLE, script), args, { env, timeout: CASE_TIMEOUT_MS });
  await run('mkimg.sh');
  await run('run.sh', '-c', uri, '-f', flavour, '-o', directory, name);
  return parse(await readFile(join(directory, `${name}.txt`), 'utf8'));
}

const COMMAND =
  /^### (\d+)\n\$ (.*)\n--- stdout\n([\s\S]*?)--- stderr\n([\s\S]*?)--- rc (\d+)\n(?:--- events\n((?:event .*\n)+))?/gm;

function parse(transcript: string): readonly RecordedCommand[] {
  const commands = [...transcript.matchAll(COMMAND)].map(([, number, command, stdout, stderr, rc, events]) => ({
    number: Number(number),
    command: command ?? '',
    stdout: stdout ?? '',
    stderr: stderr ?? '',
    rc: Number(rc),
    events: events?.trimEnd().split('\n') ?? [],
  }));
  const count = transcript.match(/^### /gm)?.length;
  if (commands.length !== count) throw new Error(`${commands.length} of ${count} commands understood`);
  return commands;
}
