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

function virsh(...args: readonly string[]) {
  const result = spawnSync('virsh', ['-q', '-c', 'test:///default', ...args], { encoding: 'utf8' });
  if (result.error) throw result.error;
  return result;
}
