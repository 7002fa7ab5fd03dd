/** libvirt's own parser, as its test driver runs inside virsh: no daemon, nothing kept. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What virsh says on stderr about a snapshot document (after log lines and `error: `), or undefined where it takes it. */
export function virshRefusal(document: string | Buffer, ...flags: readonly string[]): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'xlsnap-virsh-'));
  try {
    writeFileSync(join(dir, 'snapshot.xml'), document);
    const { status, stderr } = virsh('snapshot-create', 'test', join(dir, 'snapshot.xml'), ...flags);
    return status === 0 ? undefined : stderr.replace(/^(?:\d{4}-.*\n)*error: /, '').replace(/\n$/, '');
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
 * What libvirt says when a snapshot of the domain that `base` defines is redefined by each of the documents, or undefined
 * where it takes one; all in one session.
 */
export function virshRedefinitions(
  definition: string,
  base: string,
  documents: readonly string[],
): readonly (string | undefined)[] {
  const dir = mkdtempSync(join(tmpdir(), 'xlsnap-virsh-'));
  try {
    const file = (name: string, text: string): string => {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    };
    const define = (path: string): string => `snapshot-create d ${path} --redefine`;
    const old = define(file('base.xml', base));
    const commands = documents.flatMap((document, index) => [
      old,
      'echo --err [',
      define(file(`${index}.xml`, document)),
      'echo --err ]',
      'snapshot-delete d s',
    ]);
    const { stderr } = virsh([`define ${file('domain.xml', definition)}`, ...commands].join('; '));
    const answers = stderr.split('error: [\n').slice(1);
    return answers.map((answer) => /^error: ([\s\S]*?)\nerror: \]\n/.exec(answer)?.[1]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function virsh(...args: readonly string[]) {
  const result = spawnSync('virsh', ['-q', '-c', 'test:///default', ...args], { encoding: 'utf8' });
  if (result.error) throw result.error;
  return result;
}
