import { describe, expect, test } from '@jest/globals';
import { parseCommand, valuesOf } from '../../../../src/cli/command-line/parse.ts';
import { COMMANDS } from '../../../../src/cli/commands.ts';
import { everyCommand } from '../../../support/every-command.ts';

const parse = async (...words: readonly string[]) => valuesOf(await parseCommand(COMMANDS, words));

/** virsh's words about a command line that does not fit. */
async function refused(...words: readonly string[]): Promise<string> {
  try {
    await parse(...words);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${words.join(' ')} was accepted`);
}

describe('options', () => {
  test.each([
    ['by their place, in the table’s order', ['snapshot-list', 'vm', 's1']],
    ['by name', ['snapshot-list', '--from', 's1', '--domain', 'vm']],
    ['by name with an equals sign', ['snapshot-list', '--domain=vm', '--from=s1']],
    ['by both: a place is the first that is still free', ['snapshot-list', '--domain', 'vm', 's1']],
    ['in any order', ['snapshot-list', '--from', 's1', 'vm']],
    ['after two dashes all words go by their place', ['snapshot-list', '--', 'vm', 's1']],
  ])('are given %s', async (_what, words) => {
    expect(await parse(...words)).toMatchObject({ domain: 'vm', from: 's1', tree: false, parent: false });
  });

  test('what was not given is undefined, false or empty', async () => {
    expect(await parse('snapshot-create-as', 'vm')).toMatchObject({
      name: undefined,
      memspec: undefined,
      halt: false,
      diskspec: [],
    });
  });

  test.each([
    ['snapshot-delete', '-n', 's1', 'vm'],
    ['snapshot-revert', 'vm', '-n', 's1', '-p'],
  ])('that xl has a letter for are given by it: %s %s %s %s', async (...words) => {
    expect(await parse(...words)).toMatchObject({ domain: 'vm', snapshotname: 's1' });
    expect(await refused('snapshot-delete', 'vm', '-n', 's1', '--snapshotname=s2')).toBe(
      'option --snapshotname already seen',
    );
    expect(await refused('snapshot-delete', 'vm', '-n')).toBe('expected syntax: --snapshotname <string>');
  });

  test('a letter after two dashes, or one that the command has not, is a word like any other', async () => {
    expect(await parse('snapshot-delete', '--', 'vm', '-n')).toMatchObject({ domain: 'vm', snapshotname: '-n' });
    expect(await parse('snapshot-delete', 'vm', '-x')).toMatchObject({ snapshotname: '-x' });
  });

  test('an argv takes what is left, and comes as often as one likes', async () => {
    expect(
      await parse('snapshot-create-as', 'vm', 'n', 'd', 'vda', '--diskspec', 'vdb', '--diskspec=vdc', 'vdd'),
    ).toMatchObject({
      name: 'n',
      description: 'd',
      diskspec: ['vda', 'vdb', 'vdc', 'vdd'],
    });
  });

  test('that are taken by name only have no place', async () => {
    expect(await refused('snapshot-dumpxml', 'vm', 's1', '//name')).toBe("unexpected data '//name'");
    expect(await parse('snapshot-dumpxml', 'vm', 's1', '--xpath', '//name')).toMatchObject({ xpath: '//name' });
  });

  test('values may look like options, and hold equals signs', async () => {
    expect(await parse('snapshot-create-as', '--name', '--halt', '--description=a=b', 'vm')).toMatchObject({
      domain: 'vm',
      name: '--halt',
      description: 'a=b',
      halt: false,
    });
  });

  test('words that begin with one dash, or with three, are data', async () => {
    expect(await parse('snapshot-list', '-vm', '---')).toMatchObject({ domain: '-vm', from: '---' });
  });
});

test.each([
  [['nosuch'], "unknown command: 'nosuch'"],
  [['snapshot-list'], "command 'snapshot-list' requires <domain> option"],
  [
    ['snapshot-dumpxml'],
    "command 'snapshot-dumpxml' requires <domain> option\nerror: command 'snapshot-dumpxml' requires <snapshotname> option",
  ],
  [['snapshot-list', 'vm', '--bogus'], "command 'snapshot-list' doesn't support option --bogus"],
  [['snapshot-list', 'vm', '--tre'], "command 'snapshot-list' doesn't support option --tre"],
  [['snapshot-list', 'vm', '--tree', '--tree'], 'option --tree already seen'],
  [['snapshot-list', 'vm', '--domain', 'vm'], 'option --domain already seen'],
  [['snapshot-list', 'vm', '--tree=yes'], "invalid '=' after option --tree"],
  [['snapshot-list', 'vm', '--from'], 'expected syntax: --from <string>'],
  [['snapshot-list', 'vm', 's1', 's2'], "unexpected data 's2'"],
  [['snapshot-list', 'vm', '--from='], "Failed to get option 'from': Option argument is empty"],
  [['snapshot-list', ''], "Failed to get option 'domain': Option argument is empty"],
  [['snapshot-list', '--help', '--bogus'], "command 'snapshot-list' doesn't support option --bogus"],
])('%j is refused in virsh’s words', async (words, message) => {
  expect(await refused(...words)).toBe(message);
});

test('with --help nothing is required', async () => {
  const { given } = await parseCommand(COMMANDS, ['snapshot-list', '--help']);
  expect(given.has('help')).toBe(true);
});

describe('the table of commands', () => {
  test('has every name once, and options without doubles', async () => {
    const names = COMMANDS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, options } of await everyCommand()) {
      expect([name, new Set(options.map((option) => option.name)).size]).toEqual([name, options.length]);
    }
  });

  test('lists what must be there before what may', async () => {
    for (const { options } of await everyCommand()) {
      const types = options.map(({ type }) => type);
      expect(types.lastIndexOf('data')).toBe(types.filter((type) => type === 'data').length - 1);
    }
  });
});
