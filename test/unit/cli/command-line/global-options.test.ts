import { expect, test } from '@jest/globals';
import { parseInvocation } from '../../../../src/cli/command-line/global-options.ts';

const COMMAND = {
  kind: 'command',
  uri: 'xen:///system',
  readOnly: false,
  quiet: false,
  words: ['snapshot-list', 'vm'],
};

test.each([
  ['nothing before the command', ['snapshot-list', 'vm'], {}],
  ['a URI by letter', ['-c', 'test:///default', 'snapshot-list', 'vm'], { uri: 'test:///default' }],
  ['a URI at its letter', ['-ctest:///default', 'snapshot-list', 'vm'], { uri: 'test:///default' }],
  ['a URI by name', ['--connect', 'test:///default', 'snapshot-list', 'vm'], { uri: 'test:///default' }],
  ['a URI behind an equals sign', ['--connect=test:///default', 'snapshot-list', 'vm'], { uri: 'test:///default' }],
  ['an empty URI, which is the default', ['-c', '', 'snapshot-list', 'vm'], {}],
  ['letters together', ['-rq', 'snapshot-list', 'vm'], { readOnly: true, quiet: true }],
  ['names', ['--readonly', '--quiet', 'snapshot-list', 'vm'], { readOnly: true, quiet: true }],
  ['two dashes', ['-q', '--', 'snapshot-list', 'vm'], { quiet: true }],
])('%s', (_what, argv, expected) => {
  expect(parseInvocation(argv, {})).toEqual({ ...COMMAND, ...expected });
});

test('what follows the command is the command’s', () => {
  const words = ['snapshot-list', '-q', '--help', '--connect', 'x', '--'];
  expect(parseInvocation(words, {})).toEqual({ ...COMMAND, words });
});

test('the environment names the URI where the command line does not', () => {
  const env = { LIBVIRT_DEFAULT_URI: 'test:///default' };
  expect(parseInvocation(['help'], env)).toMatchObject({ uri: 'test:///default' });
  expect(parseInvocation(['-c', 'xen:///', 'help'], env)).toMatchObject({ uri: 'xen:///' });
  expect(parseInvocation(['help'], { LIBVIRT_DEFAULT_URI: '' })).toMatchObject({ uri: 'xen:///system' });
});

test.each([
  [['-h'], 'help'],
  [['--help', 'snapshot-list'], 'help'],
  [['--version'], 'version'],
  [['-v', 'snapshot-list'], 'version'],
])('%j asks for %s', (argv, kind) => {
  expect(parseInvocation(argv, {})).toEqual({ kind });
});

test('options without a command are those of the terminal', () => {
  const options = { uri: 'xen:///system', readOnly: false, quiet: false };
  expect(parseInvocation([], {})).toEqual({ kind: 'shell', ...options });
  expect(parseInvocation(['-r', '--'], {})).toEqual({ kind: 'shell', ...options, readOnly: true });
});

test.each([
  [['-x'], "unsupported option '-x'. See --help."],
  [['--bogus', 'snapshot-list'], "unsupported option '--bogus'. See --help."],
  [['--quiet=1', 'snapshot-list'], "unsupported option '--quiet'. See --help."],
  [['-c'], "option '-c'/'--connect' requires an argument"],
])('%j is refused in virsh’s words', (argv, message) => {
  expect(() => parseInvocation(argv, {})).toThrow(message);
});
