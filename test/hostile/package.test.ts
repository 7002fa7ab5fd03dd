/** What root gets by installing the package: the exact modules that are tested, and no build. */

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { pack } from '../support/packed.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

let scratch: string;
let tarball: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'xlsnap-package-'));
  ({ tarball } = await pack(scratch));
});

afterAll(async () => await rm(scratch, { recursive: true }));

/** `name@version` of every package below a folder's node_modules, without those for other processors. */
async function packagesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(join(folder, 'node_modules')).catch(() => []);
  const found = names.map(async (name): Promise<readonly string[]> => {
    const path = join(folder, 'node_modules', name);
    if (name.startsWith('.')) return [];
    if (name.startsWith('@')) {
      const scoped = await Promise.all((await readdir(path)).map((each) => packageAt(join(path, each))));
      return scoped.flat();
    }
    return await packageAt(path);
  });
  return (await Promise.all(found)).flat().toSorted();
}

async function packageAt(path: string): Promise<readonly string[]> {
  const { name, version } = JSON.parse(await readFile(join(path, 'package.json'), 'utf8'));
  return [`${name}@${version}`, ...(await packagesIn(path))];
}

const INSTALLED = [
  `@koromix/koffi-linux-${process.arch}@3.3.4`,
  '@nornagon/put@0.0.8',
  'dbus-next@0.10.2',
  'duplexer@0.1.2',
  'event-stream@3.3.4',
  'from@0.1.7',
  'hexy@0.2.11',
  'jsbi@2.0.5',
  'koffi@3.3.4',
  'libxml2-wasm@0.7.2',
  'long@4.0.0',
  'map-stream@0.1.0',
  'pause-stream@0.0.11',
  'safe-buffer@5.2.1',
  'sax@1.6.1',
  'split@0.3.3',
  'stream-combiner@0.0.4',
  'through@2.3.8',
  'xml2js@0.6.2',
  'xmlbuilder@11.0.1',
];

test.each([
  // koffi's own, which looks whether its binary of this package can be loaded, and is not needed.
  ['npm install --global', [], ['> koffi@3.3.4 install']],
  ['npm install --global --ignore-scripts', ['--ignore-scripts'], []],
])('%s installs these packages, though no registry answers', async (_, options, scripts) => {
  const prefix = await mkdtemp(join(scratch, 'prefix-'));
  const words = ['install', '--global', '--prefix', prefix, '--no-audit', '--no-fund', ...options];
  // Nothing listens there, and the cache is empty: what is not in the package cannot come from elsewhere.
  const offline = ['--registry', 'http://127.0.0.1:9', '--cache', join(prefix, 'cache'), '--fetch-retries', '0'];
  // An npm that runs this test gives its own settings, such as --silent, to the one that is tested.
  const env = { ...process.env, npm_config_loglevel: 'notice' };
  const { stdout, stderr } = await run('npm', [...words, ...offline, '--foreground-scripts', tarball], { env });
  expect(`${stdout}${stderr}`).toMatch(/added 1 package/);
  expect(`${stdout}${stderr}`.match(/^> \S+@.*/gm) ?? []).toEqual(scripts);
  expect(await packagesIn(join(prefix, 'lib/node_modules/xlsnap'))).toEqual(INSTALLED);
  expect((await run(join(prefix, 'bin/xlsnapd'), ['--version'])).stdout).toMatch(/^xlsnapd \d/);
});

test('the packages that are installed are those that are tested', async () => {
  const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly version: string }>>;
  };
  const locked = INSTALLED.map((each) => {
    const name = each.slice(0, each.lastIndexOf('@'));
    return `${name}@${packages[`node_modules/${name}`]?.version}`;
  });
  expect(INSTALLED).toEqual(locked);
});
