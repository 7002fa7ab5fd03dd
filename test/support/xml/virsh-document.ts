/** libvirt's own parser, as its test driver runs inside virsh: no daemon, nothing kept. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inWordsOf9 } from './libvirt-words.ts';

/** What virsh says on stderr about a snapshot document (after log lines and `error: `), or undefined where it takes it. */
export function virshRefusal(document: string | Buffer, ...flags: readonly string[]): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'xlsnap-virsh-'));
  try {
    writeFileSync(join(dir, 'snapshot.xml'), document);
    const { status, stderr } = virsh('snapshot-create', 'test', join(dir, 'snapshot.xml'), ...flags);
    return status === 0 ? undefined : inWordsOf9(stderr.replace(/^(?:\d{4}-.*\n)*error: /, '').replace(/\n$/, ''));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Several commands of one session over a domain that it defines first; stdout. */
export function virshSession(definition: string, ...commands: readonly string[]): string {
  const dir = mkdtempSync(join(tmpdir(), 'xlsnap-virsh-'));
  try {
    writeFileSync(join(dir, 'domain.xml'), definition);
    const { stdout, stderr, status } = virsh([`define ${join(dir, 'domain.xml')}`, ...commands].join('; '));
    if (status !== 0) throw new Error(stderr);
    return stdout;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/**
 * What libvirt says when one snapshot document of the domain `d` is redefined by another, pair by pair, or undefined where it
 * takes that; all in one session.
 */
export function virshRedefinitions(
  definition: string,
  pairs: readonly (readonly [before: string, after: string])[],
): readonly (string | undefined)[] {
  const dir = mkdtempSync(join(tmpdir(), 'xlsnap-virsh-'));
  try {
    const written = new Map<string, string>();
    const file = (text: string): string => {
      const path = written.get(text) ?? join(dir, `${written.size}.xml`);
      if (!written.has(text)) writeFileSync(path, text);
      written.set(text, path);
      return path;
    };
    const commands = pairs.flatMap(([before, after]) => [
      `snapshot-create d ${file(before)} --redefine`,
      'echo --err [',
      `snapshot-create d ${file(after)} --redefine`,
      'echo --err ]',
      'snapshot-delete d s',
    ]);
    const { stderr } = virsh([`define ${file(definition)}`, ...commands].join('; '));
    const answers = stderr.split('error: [\n').slice(1);
    return answers.map((answer) => {
      const [, words] = /^error: ([\s\S]*?)\nerror: \]\n/.exec(answer) ?? [];
      return words === undefined ? undefined : inWordsOf9(words);
    });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function virsh(...args: readonly string[]) {
  const result = spawnSync('virsh', ['-q', '-c', 'test:///default', ...args], { encoding: 'utf8' });
  if (result.error) throw result.error;
  return result;
}
