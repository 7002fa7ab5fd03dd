import { expect, test } from '@jest/globals';
import { command } from '../../../../src/cli/command-line/command.ts';
import { commandHelp, groupsHelp } from '../../../../src/cli/command-line/help.ts';

const body = command({
  description: 'Does nothing.',
  options: [
    { name: 'domain', type: 'data', help: 'domain name, id or uuid' },
    { name: 'from', type: 'string', help: 'where to begin' },
    { name: 'tree', type: 'bool', help: 'as a tree' },
    { name: 'diskspec', type: 'argv', help: 'a disk' },
  ],
  run: async () => {},
});

const sample = { name: 'sample', help: 'a command for this test', load: async () => body, ...body };

test('a command’s help has virsh’s layout', () => {
  expect(commandHelp(sample)).toBe(`  NAME
    sample - a command for this test

  SYNOPSIS
    sample <domain> [--from <string>] [--tree] [[--diskspec] <string>]...

  DESCRIPTION
    Does nothing.

  OPTIONS
    [--domain] <string>  domain name, id or uuid
    --from <string>  where to begin
    --tree           as a tree
    [--diskspec] <string>  a disk

`);
});

test('a command without options has no list of them', () => {
  expect(commandHelp({ ...sample, options: [] })).toBe(`  NAME
    sample - a command for this test

  SYNOPSIS
    sample

  DESCRIPTION
    Does nothing.

`);
});

test('groups are listed one after another', () => {
  const group = { title: 'First', keyword: 'one', commands: [sample] };
  expect(groupsHelp([group, { ...group, title: 'Second', keyword: 'two' }])).toBe(` First (help keyword 'one'):
    sample                         a command for this test

 Second (help keyword 'two'):
    sample                         a command for this test

`);
});
