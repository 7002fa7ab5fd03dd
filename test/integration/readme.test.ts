/** What README shows is what happens. */

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

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
    .replace(/\d+\.\d\d MiB +\d+ s$/gm, 'SIZE AGE')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(Boolean);

test('npm run demo prints what README shows', async () => {
  const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'demo'], { cwd: ROOT });
  const shown = blockOf('npm run demo');
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
    expect(shown.filter((line) => line.startsWith('wrote'))).toEqual(stdout.trimEnd().split('\n'));
    expect(shown.filter((line) => line.startsWith('ran')).length).toBeGreaterThan(3);
  } finally {
    await rm(root, { recursive: true });
  }
});

test('every script that README names is in package.json', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  const named = [...README.matchAll(/npm (?:run )?([a-z:]+)/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(3);
  const npms = ['ci', 'install', 'pack'];
  for (const name of named) expect([...Object.keys(scripts), ...npms]).toContain(name);
});

test('every runtime dependency is named with its reason', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: object };
  for (const name of Object.keys(dependencies)) expect(README).toMatch(new RegExp(`\\* \\[${name}\\]\\(https://`));
});
