/** What the manual pages and the documents say is what the programs have. */

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, jest, test } from '@jest/globals';
import { withCommands } from '../../scripts/man.mjs';
import { NODE_VERSIONS } from '../../scripts/setup.mjs';
import {
  DEMO,
  FAST_TESTS,
  HOST_TESTS,
  NPM_TEST_PART,
  PACKING_TESTS,
  RELEASED_SYSTEMS,
  SYSTEMS,
} from '../../scripts/systems.mjs';
import { commandHelp } from '../../src/cli/command-line/help.ts';
import { COMMANDS, GROUPS } from '../../src/cli/commands.ts';
import { TESTED } from '../../src/cli/doctor/host/host-rules.ts';
import { everyCommand } from '../support/every-command.ts';

const ROOT = resolve(import.meta.dirname, '../..');
jest.setTimeout(60_000);

const run = promisify(execFile);
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const help = async (program: string, ...words: readonly string[]) =>
  (await run(process.execPath, [join(ROOT, 'dist', program), ...words])).stdout;

const longOptions = (text: string) => [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]*/g))].toSorted();
/** roff's escaped dashes as plain ones. */
const plain = (page: string) => page.replaceAll('\\-', '-').replace(/\\f[RIB]/g, '');
const section = (page: string, title: string) =>
  plain(page)
    .split(/^\.SH /m)
    .find((part) => part.startsWith(title)) ?? '';

const MAN_PAGES = readdirSync(join(ROOT, 'man')).map((name) => `man/${name}`);

describe.each(MAN_PAGES)('%s', (path) => {
  test('is formatted without a warning', async () => {
    const { stdout, stderr } = await run('man', ['--warnings', '-l', join(ROOT, path)], {
      env: { ...process.env, LC_ALL: 'C.UTF-8', MANWIDTH: '100', PAGER: 'cat', MANPAGER: 'cat' },
    });
    expect(stderr).toBe('');
    expect(stdout).toContain('SYNOPSIS');
  });
});

test("xlsnapd's page has the options of its --help, and no others", async () => {
  expect(longOptions(section(read('man/xlsnapd.8'), 'OPTIONS'))).toEqual(
    longOptions(await help('daemon/main.js', '--help')),
  );
});

test("xlsnap's page has the options of its --help, and no others", async () => {
  const [usage = ''] = (await help('cli/main.js', '--help')).split('commands:');
  const options = section(read('man/xlsnap.1'), 'OPTIONS');
  expect(longOptions(options)).toEqual(longOptions(usage));
});

test("the commands in xlsnap's page are those of the program (else: npm run build && npm run man)", async () => {
  const page = read('man/xlsnap.1');
  expect(await withCommands(page, GROUPS)).toBe(page);
  const commands = section(page, 'COMMANDS');
  for (const command of await everyCommand()) {
    for (const option of longOptions(commandHelp(command))) expect(commands).toContain(option);
  }
});

test('the manual pages and the changelog have the version of package.json', () => {
  const { version } = JSON.parse(read('package.json')) as { version: string };
  for (const page of MAN_PAGES) expect(read(page)).toMatch(new RegExp(`^\\.TH .* "xlsnap ${version}" `));
  expect(read('CHANGELOG.md').match(/^## (\S+)/m)?.[1]).toBe(version);
});

const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`),
];

describe.each(DOCUMENTS)('%s', (path) => {
  const text = read(path);

  test('names only files that are there', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link = '']) => join(dirname(path), link));
    const named = text.match(/(?<![\w/.-])(?:test|src|scripts|packaging|schemas|man|docs)\/[\w./-]+\w/g) ?? [];
    for (const file of [...links, ...named]) expect([file, existsSync(join(ROOT, file))]).toEqual([file, true]);
  });

  test('names only options that xlsnapd, xlsnap or virsh have', async () => {
    const others = [
      'domstate',
      'blockcopy',
      'blockcommit',
      'blockjob',
      'blockresize',
      'shutdown',
      'domtime',
      'guestinfo',
      'guestvcpus',
      'qemu-agent-command',
      'guestinfo',
      'guestvcpus',
      'dump',
      'save-image-define',
    ];
    const { stdout: virsh } = await run('virsh', [others.map((command) => `help ${command}`).join('; ')]);
    const ours = `${await help('daemon/main.js', '--help')} ${await everyHelp()} --fast --lab --system`;
    const known = new Set(longOptions(`${ours} ${virsh}`));
    const unknown = longOptions(text.replace(/^ *```[\s\S]*?^ *```/gm, '')).filter((option) => !known.has(option));
    expect(unknown).toEqual([]);
  });
});

/** Of xlsnap's commands and of those of virsh that the documents speak of. */
async function everyHelp(): Promise<string> {
  const blocks = ['blockcommit', 'blockjob', 'blockpull', 'domblkinfo', 'domstats', 'domfsfreeze'];
  const theirs = ['undefine', 'list', 'dumpxml', 'domjobinfo', 'snapshot-create-as', ...blocks].map(virshHelp);
  return [...(await everyCommand()).map(commandHelp), ...(await Promise.all(theirs))].join('\n');
}

async function virshHelp(command: string): Promise<string> {
  return (await run('virsh', [command, '--help'], { env: { ...process.env, LC_ALL: 'C' } })).stdout;
}

describe('the table of systems', () => {
  const rows = read('docs/support.md')
    .split('\n')
    .filter((line) => /^\| Debian \d+/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const rowOf = (system: string) => rows.find(([, name]) => name?.endsWith(system));

  test.each(SYSTEMS)('%s: has what is run there', (system) => {
    const [, , , inNpmTest = '', nightly = '', onXen = ''] = rowOf(system) ?? [];
    const part = RELEASED_SYSTEMS.includes(system) ? [...NPM_TEST_PART.root, ...NPM_TEST_PART.hosts] : [];
    for (const path of part) expect(inNpmTest).toContain(path);
    for (const path of RELEASED_SYSTEMS.includes(system) ? NPM_TEST_PART.lab.paths : []) expect(onXen).toContain(path);
    for (const path of [...FAST_TESTS, ...HOST_TESTS]) expect(`${inNpmTest} ${nightly}`).toContain(path);
    for (const path of PACKING_TESTS) expect(nightly).toContain(path);
    expect(nightly).toContain('`npm run demo`');
  });

  test('npm run demo is started on other systems as it is on this one', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Readonly<Record<string, string>> };
    expect(DEMO.join(' ')).toBe(scripts.demo);
  });

  test('names no other system than these and the one of this project', () => {
    expect(rows.map(([, name]) => name?.split(', ')[1])).toEqual(['bookworm', ...SYSTEMS]);
  });
});

describe('the versions with which the tests have been run', () => {
  const rows = [
    ...read('docs/support.md').matchAll(/^\| Debian \d+[^|]*, (\w+) \| ([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)/gm),
  ].map(([, system = '', xen = '', libvirt = '', qemu = '', node = '']) => ({ system, xen, libvirt, qemu, node }));

  test("are in the table of systems those of xlsnap doctor's", () => {
    expect([...new Set(rows.map(({ xen }) => xen))]).toEqual(TESTED.Xen);
    expect([...new Set(rows.map(({ libvirt }) => libvirt))]).toEqual(TESTED.libvirt);
    expect([...new Set(rows.map(({ qemu }) => qemu))]).toEqual(TESTED.QEMU);
  });

  test('are those that README names', () => {
    const [, ...versions] = /\(all tests: ([\d.]+); a part: ([\d.]+)\)/.exec(read('README.md')) ?? [];
    expect(versions).toEqual(TESTED.Xen);
  });

  test('have the lines of Node on which npm test runs', () => {
    const lines = NODE_VERSIONS.map((version) => version.split('.')[0]);
    expect(read('docs/support.md')).toContain(`20 (and ${lines.join(', ')} from npm)`);
  });

  test('are those of the system that this is', async () => {
    const system = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
    const row = rows.find((each) => each.system === system);
    if (row === undefined) throw new Error(`docs/support.md has no row of ${system}`);
    const versionOf = async (...[program, ...words]: readonly [string, ...string[]]) =>
      /\d+\.\d+/.exec((await run(program, words)).stdout)?.[0];
    const libraries = (await run('ldconfig', ['-p'])).stdout;
    expect({
      xen: /libxenlight\.so\.(\d+\.\d+)/.exec(libraries)?.[1],
      libvirt: await versionOf('virsh', '--version'),
      qemu: await versionOf('qemu-img', '--version'),
    }).toEqual({ xen: row.xen, libvirt: row.libvirt, qemu: row.qemu });
    // Debian 12's own Node is too old: any that is new enough is used there.
    if (system !== 'bookworm') expect(process.versions.node).toMatch(new RegExp(`^${row.node}\\.`));
  });
});

describe('the support table', () => {
  /** The table's cells, by row. */
  const rows = read('docs/support.md')
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

  test('has every snapshot command of virsh with every option', async () => {
    const { stdout } = await run('virsh', ['help', 'snapshot'], { env: { ...process.env, LC_ALL: 'C' } });
    const commands = [...stdout.matchAll(/^ {4}(snapshot-[a-z-]+)/gm)].map(([, name = '']) => name);
    expect(commands.length).toBeGreaterThan(8);
    const helps = await Promise.all(commands.map(virshHelp));
    for (const [index, command] of commands.entries()) {
      const options = longOptions(helps[index]?.split('OPTIONS')[1] ?? '');
      const described = rows.filter(([name]) => name === `\`${command}\``).map(([, option = '']) => option);
      expect([command, described.flatMap((option) => longOptions(option)).toSorted()]).toEqual([command, options]);
    }
  });

  test("has every command of xlsnap's own", () => {
    const names = rows.map(([name = '']) => name.replaceAll('`', ''));
    for (const { name } of COMMANDS) if (!name.startsWith('snapshot-')) expect(names).toContain(`xlsnap ${name}`);
  });

  test('says of everything that works which test shows it', () => {
    const works = rows.filter(([, , state]) => /^works/.test(state ?? ''));
    expect(works.length).toBeGreaterThan(40);
    for (const row of works) expect(row.at(-1)).toMatch(/test\/\S+\.ts|test\/\S+\.py/);
  });
});
