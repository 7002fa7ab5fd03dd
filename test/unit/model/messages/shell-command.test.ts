import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { DELETE, REVERT } from '../../../../src/model/flags.ts';
import { isPrintable } from '../../../../src/model/messages/printable.ts';
import { domainCommand, shellCommand, shellWord } from '../../../../src/model/messages/shell-command.ts';
import { virshCommand } from '../../../../src/model/messages/virsh-command.ts';
import { HOSTILE_NAMES } from '../../../support/hostile-names.ts';

const UUID = '11111111-2222-3333-4444-555555555555';

/** The words that a shell hands to the program when the command is pasted. */
function words(shell: string, command: string): readonly string[] {
  const script = `show() { for word; do printf '%s\\0' "$word"; done; }; show ${command}`;
  return execFileSync(shell, ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1);
}

describe.each(['/bin/sh', '/bin/bash'])('%s', (shell) => {
  test.each(Object.entries(HOSTILE_NAMES))('reads a word with %s as it is', (_what, name) => {
    expect(words(shell, shellCommand('snapshot-revert', name, name))).toEqual(['snapshot-revert', name, name]);
  });

  test('reads an empty word', () => {
    expect(words(shell, shellCommand('a', ''))).toEqual(['a', '']);
  });
});

test.each(Object.entries(HOSTILE_NAMES))('a word with %s is printable', (_what, name) => {
  expect(isPrintable(shellWord(name))).toBe(true);
});

test.each(['vm-1', 'a_b.c', '/srv/vm/disk.qcow2', 'ünïcode', 'user@host:1,2+3%'])('%s needs no quotes', (name) => {
  expect(shellWord(name)).toBe(name);
});

describe('a command about a domain', () => {
  const command = (name: string, ...args: readonly string[]): string =>
    domainCommand({
      program: 'virsh',
      command: 'snapshot-delete',
      domain: { name, uuid: UUID },
      args,
      options: ['--metadata'],
    });

  test.each([
    ['of plain names', ['vm', 's1'], 'virsh snapshot-delete vm s1 --metadata'],
    ['of quoted names', ['my vm', "it's"], "virsh snapshot-delete 'my vm' 'it'\\''s' --metadata"],
    ['of a name like an option', ['vm', '--children'], 'virsh snapshot-delete --metadata -- vm --children'],
    ['of a name like an id', ['5', 's1'], `virsh snapshot-delete ${UUID} s1 --metadata`],
    ['of a name that virsh reads as an id', [' +5', 's1'], `virsh snapshot-delete ${UUID} s1 --metadata`],
    ['of a name like a UUID', [UUID.replace('1', '2'), 's1'], `virsh snapshot-delete ${UUID} s1 --metadata`],
  ] as const)('%s', (_what, [name, snapshot], expected) => {
    expect(command(name, snapshot)).toBe(expected);
  });
});

test('an interrupted operation is repeated with its own flags', () => {
  const domain = { name: 'my vm', uuid: UUID, id: -1 };
  const revert = REVERT.PAUSED | REVERT.FORCE;
  expect(virshCommand('revert', { domain, snapshot: 's1', flags: revert })).toBe(
    "virsh snapshot-revert 'my vm' s1 --paused --force",
  );
  expect(virshCommand('delete', { domain, snapshot: '-x', flags: DELETE.CHILDREN })).toBe(
    "virsh snapshot-delete --children -- 'my vm' -x",
  );
});
