/** The library as a TypeScript user has it: from a packed package, with types, by its entries. */

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { pack } from '../support/packed.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

/** Packs, and runs a compiler, on a machine that does much else. */
const TEST_TIMEOUT_MS = 120_000;
jest.setTimeout(TEST_TIMEOUT_MS);

let user: string;
let host: Xlsnapd;

beforeAll(async () => {
  host = await Xlsnapd.start();
  user = await mkdtemp(join(tmpdir(), 'xlsnap-user-'));
  const modules = join(user, 'node_modules');
  await mkdir(join(modules, '@types'), { recursive: true });
  const { tarball } = await pack(user);
  await run('tar', ['-xzf', tarball, '-C', user]);
  await rm(tarball);
  await symlink(join(user, 'package'), join(modules, 'xlsnap'));
  // What an installation would fetch.
  const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
  await symlink(join(ROOT, 'node_modules/undici-types'), join(modules, 'undici-types'));
  await writeFile(join(user, 'package.json'), '{ "type": "module" }');
  await writeFile(
    join(user, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: { strict: true, module: 'nodenext', target: 'es2023', types: ['node'], skipLibCheck: false },
      files: ['use.ts'],
    }),
  );
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(user, { recursive: true, force: true });
});

async function compileAndRun(source: string): Promise<string> {
  await writeFile(join(user, 'use.ts'), source);
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', user]).catch(({ stdout }) => {
    throw new Error(stdout);
  });
  const env = { ...process.env, LIBVIRT_DEFAULT_URI: host.uri };
  return (await run(process.execPath, [join(user, 'use.js')], { cwd: user, env })).stdout;
}

test('a strict TypeScript program takes and reads structs, documents and errors', async () => {
  const output = await compileAndRun(`
    import {
      DOMAIN_SNAPSHOT, DOMAIN_SNAPSHOT_ARGS, domainSnapshotRestore, fromLibxlJson, isLibvirtError, readSnapshot, toLibxlJson,
      writeSnapshot, type LibxlDomainSnapshot, type LibxlDomainSnapshotArgs, type SaveOptions, type SnapshotDef,
    } from 'xlsnap';

    const args: LibxlDomainSnapshotArgs = {
      memory: true, memory_path: '/m/s1.save', disks: [{ disk: { vdev: 'xvda', format: 'qcow2' }, name: 's1' }],
    };
    const again: LibxlDomainSnapshotArgs = fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, toLibxlJson(DOMAIN_SNAPSHOT_ARGS, args));
    console.log(again.disks?.[0]?.disk.vdev, again.memory === true);

    const options: Pick<SaveOptions, 'progress'> = { progress: ({ done, total }) => console.log(done / total) };
    options.progress?.({ done: 1, total: 2 });

    const { snapshot }: { snapshot: SnapshotDef } = readSnapshot(
      '<domainsnapshot><name>s</name><state>shutoff</state><creationTime>7</creationTime></domainsnapshot>',
      { internal: false },
    );
    console.log(snapshot.creationTime === 7n, writeSnapshot(snapshot, { secure: false }).includes('<name>s</name>'));

    try {
      const struct: LibxlDomainSnapshot = fromLibxlJson(DOMAIN_SNAPSHOT, '{ "name": 7 }');
      console.log(struct.name);
    } catch (error) {
      if (isLibvirtError(error, 'INVALID_ARG')) console.log(error.message);
    }
    domainSnapshotRestore({ name: 's' }, { signal: AbortSignal.timeout(1_000) }).catch((error) => console.log(error.code));
  `);
  expect(output.trimEnd().split('\n')).toEqual([
    'xvda true',
    '0.5',
    'true true',
    "invalid argument: libxl-json: 'libxl_domain_snapshot.name' has to be a string",
    'INVALID_ARG',
  ]);
});

/** The examples of docs/library.md, each with what it prints, as the page shows it. */
const EXAMPLES = [
  ...readFileSync(join(ROOT, 'docs/library.md'), 'utf8').matchAll(
    /^## ([^\n]*)$(?:(?!^## )[\s\S])*?^```ts\n([\s\S]*?)^```$(?:\n\n```text\n([\s\S]*?)^```$)?/gm,
  ),
].map(([, title = '', source = '', printed = '']) => ({ title, source, printed }));

test('docs/library.md has an example for each of its parts, and uses every function', async () => {
  expect(EXAMPLES.map(({ title }) => title)).toEqual([
    'Take a snapshot, and go back to it',
    'Jobs',
    'Events',
    'Block jobs',
    'Save and restore',
    'Definitions of guests that libvirt does not know',
    'Structs as libxl-json',
    'Documents',
    'Errors',
  ]);
  const exported = {
    ...(await import(join(ROOT, 'dist/index.js'))),
    ...(await import(join(ROOT, 'dist/client/index.js'))),
  };
  const page = await readFile(join(ROOT, 'docs/library.md'), 'utf8');
  expect(Object.keys(exported).filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

test.each(EXAMPLES)(
  'docs/library.md, $title: compiles, and prints what the page shows',
  async ({ source, printed }) => {
    expect((await compileAndRun(source)).trimEnd()).toBe(printed.trimEnd());
  },
);

/** Those that are run whole elsewhere (client-library.test.ts) are JavaScript. */
const TYPESCRIPT = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));

test.each(TYPESCRIPT)('examples/%s compiles, and prints how it is used', async (name) => {
  const source = await readFile(join(ROOT, 'examples', name), 'utf8');
  await expect(compileAndRun(source)).rejects.toThrow('usage: ');
});

test('a struct that does not fit is an error of the compiler', async () => {
  const wrong = `import type { LibxlDomainSnapshotArgs } from 'xlsnap';
    export const args: LibxlDomainSnapshotArgs = { memory_file: '/m' };`;
  await expect(compileAndRun(wrong)).rejects.toThrow("'memory_file' does not exist in type 'LibxlDomainSnapshotArgs'");
});

test('the package has the compiled sources and what they are, and nothing else that a build leaves', async () => {
  const compiled = await readdir(join(user, 'package/dist'), { recursive: true });
  const files = compiled.filter((path) => path.includes('.'));
  expect(files.length).toBeGreaterThan(200);
  const sourceOf = (path: string) => join(ROOT, 'src', path.replace(/\.d\.ts$|\.js$/, '.ts'));
  expect(files.filter((path) => !/\.(?:js|d\.ts)$/.test(path) || !existsSync(sourceOf(path)))).toEqual([]);
});

test('nothing but the entries can be imported', async () => {
  await writeFile(join(user, 'deep.mjs'), "await import('xlsnap/dist/errors.js');");
  await expect(run(process.execPath, [join(user, 'deep.mjs')])).rejects.toThrow('ERR_PACKAGE_PATH_NOT_EXPORTED');
});

test('the client needs no package, and can be required', async () => {
  const alone = await mkdtemp(join(tmpdir(), 'xlsnap-alone-'));
  const there = join(alone, 'node_modules/xlsnap');
  for (const file of ['package.json', 'dist'])
    await cp(join(user, 'package', file), join(there, file), { recursive: true });
  await writeFile(join(alone, 'use.cjs'), "console.log(Object.keys(require('xlsnap/client')).sort().join());");
  const { stdout } = await run(process.execPath, [join(alone, 'use.cjs')]);
  expect(stdout).toBe('LibvirtError,connect,isLibvirtError\n');
  await rm(alone, { recursive: true });
});

test.each(['src/index.ts', 'src/client/index.ts'])('everything that %s exports says what it is', async (path) => {
  const index = await readFile(join(ROOT, path), 'utf8');
  const undocumented: string[] = [];
  for (const [, names = '', file = ''] of index.matchAll(/export (?:type )?\{([^}]*)\} from '([^']+)'/g)) {
    const source = await readFile(join(dirname(join(ROOT, path)), file), 'utf8');
    for (const name of names
      .split(',')
      .map((each) => each.trim())
      .filter(Boolean)) {
      const declaration = `export (async )?(function|const|class|interface|type) ${name}\\b`;
      if (!new RegExp(`\\*/\\n${declaration}`).test(source)) undocumented.push(name);
    }
  }
  expect(undocumented).toEqual([]);
});
