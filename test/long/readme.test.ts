/** README's lines for a Xen host, as they stand there, from a checkout of its own to an installed command. */

import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '../..');
/** Fetches all packages, compiles, packs. */
const INSTALL_MS = 600_000;

const run = promisify(execFile);

/** What a checkout does not have. */
const MADE = new Set(['node_modules', 'dist', '.git']);

test(
  'npm ci and npm install --global give the command that the next line runs',
  async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'xlsnap-readme-'));
    try {
      const checkout = join(scratch, 'checkout');
      const isChecked = (path: string) => dirname(path) !== ROOT || !MADE.has(basename(path));
      await cp(ROOT, checkout, { recursive: true, filter: isChecked });
      const readme = await readFile(join(ROOT, 'README.md'), 'utf8');
      const lines = readme.match(/(?<=^```console\n\$ )npm ci\n\$ npm install [^\n]*(?=\n\$ xlsnap install\n)/m)?.[0];
      expect(lines).toBeDefined();
      const prefix = join(scratch, 'prefix');
      // Only where it goes is another place; packages that were fetched once are not fetched again.
      const env = { ...process.env, npm_config_prefix: prefix, npm_config_prefer_offline: 'true' };
      await run('sh', ['-euc', lines?.replaceAll('\n$ ', '\n') ?? 'false'], { cwd: checkout, env });
      const { stdout } = await run(join(prefix, 'bin/xlsnap'), ['--version']);
      expect(stdout.trim()).toBe(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')).version);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  },
  INSTALL_MS,
);
