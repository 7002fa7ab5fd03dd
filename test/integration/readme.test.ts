/** What README shows is what happens. */

import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

const DEMO = 'npm run demo';

/** The lines of README's console block that begins with this command, without the command. */
const blockOf = (command: string) => {
  const head = `\`\`\`console\n$ ${command}\n`;
  const start = README.indexOf(head) + head.length;
  return README.slice(start, README.indexOf('\n```', start));
};

/** Times and numbers that differ, blank lines, and the embedded definitions that README leaves out. */
const comparable = (text: string) =>
  text
    .replace(/ {2}<domain type='xen'>\n[\s\S]*?<\/domainsnapshot>/g, "  <domain type='xen'>\n    …\n</domainsnapshot>")
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}/g, 'TIME')
    .replace(/<creationTime>\d+</g, '<creationTime>TIME<')
    .replace(/[\d.]+ KiB +\d+ s$/gm, 'SIZE AGE')
    // The column is as wide as the longest age.
    .replace(/ +Age\n-+$/gm, ' AGE\nRULE')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(Boolean);

test('npm run demo prints what README shows', async () => {
  const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: ROOT });
  const shown = blockOf(DEMO);
  expect(comparable(stdout)).toEqual(comparable(shown));
  expect(comparable(shown).length).toBeGreaterThan(40);
}, 180_000);

test('xlsnap install writes what README shows', async () => {
  const root = await mkdtemp(join(tmpdir(), 'xlsnap-readme-'));
  try {
    await mkdir(join(root, 'etc'));
    await writeFile(join(root, 'etc/group'), 'libvirt:x:1:\n');
    const words = [join(ROOT, 'dist/cli/main.js'), '--quiet', 'install', '--root', root];
    const { stdout } = await promisify(execFile)(process.execPath, words);
    const block = README.slice(README.indexOf('\n$ xlsnap install\n'));
    const shown = block.slice(0, block.indexOf('\n\n')).split('\n').slice(2);
    const written = stdout.trimEnd().split('\n');
    // Who may use libvirt depends on the host; README shows Debian's answer.
    expect(written.shift()).toMatch(/^note: xen:\/\/\/system is open to those who may use libvirt now/);
    expect(shown.find((line) => line.startsWith('note: '))).toBeDefined();
    expect(shown.filter((line) => line.startsWith('wrote'))).toEqual(written);
    expect(shown.filter((line) => line.startsWith('ran')).length).toBeGreaterThan(3);
  } finally {
    await rm(root, { recursive: true });
  }
});

/** Every other command of README: the test that runs it as it stands there, or why none does and what shows it. */
const SHOWN_BY: Readonly<Record<string, string>> = {
  'npm ci': 'test/long/readme.test.ts',
  'npm install --global --ignore-scripts "$(npm pack --silent)"': 'test/long/readme.test.ts',
  // Builds in the checkout; the test builds elsewhere.
  'npm run deb': 'test/integration/deb.test.ts',
  // Changes the host it runs on: under a systemd of its own, and above into another root.
  'xlsnap install': 'test/long/install.test.ts',
  // The same.
  'xlsnap uninstall': 'test/long/install.test.ts',
  // GUEST is the reader's; on real Xen a guest has another name.
  'virsh -c xen:///system snapshot-create-as GUEST before-upgrade': 'test/lab/install.test.ts',
  // Runs this test.
  'npm test': 'scripts/test.mjs',
  // The same, with --fast.
  'npm run test:fast': 'scripts/test.mjs',
  // Runs what npm test runs a part of, for an hour.
  'npm run test:lab': 'scripts/test-lab.mjs',
  // They need a pager: what is in the pages.
  'man xlsnap': 'test/integration/docs.test.ts',
  'man xlsnapd': 'test/integration/docs.test.ts',
  'man xl.snapshot.cfg': 'test/integration/docs.test.ts',
};

test('every command that README shows is run as it stands there, or listed here with what shows it', () => {
  const inBlocks = [...README.matchAll(/```console\n([\s\S]*?)\n```/g)].flatMap(([, block = '']) => {
    const commands = [...block.matchAll(/^\$ (.*)$/gm)].map(([, command = '']) => command);
    // What follows the demo in its block the demo itself prints.
    return commands[0] === DEMO ? [DEMO] : commands;
  });
  const inText = [...README.matchAll(/`((?:npm|xlsnap|virsh|man) [^`]*)`/g)].map(([, command = '']) => command);
  expect(new Set([...inBlocks, ...inText])).toEqual(new Set([DEMO, ...Object.keys(SHOWN_BY)]));
  for (const file of Object.values(SHOWN_BY)) expect(existsSync(join(ROOT, file))).toBe(true);
});

test('every script that README names is in package.json', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  const named = [...README.matchAll(/npm (?:run )?([a-z:]+)/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(3);
  const npms = ['ci', 'install', 'pack'];
  for (const name of named) expect([...Object.keys(scripts), ...npms]).toContain(name);
});

test('every runtime dependency is in the table of libraries, with its version and its reason', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: object };
  for (const [name, version] of Object.entries(dependencies))
    expect(README).toMatch(new RegExp(`^\\| \\[${name}\\]\\(https://[^|]*${version}[^|]*\\| yes: `, 'm'));
});
