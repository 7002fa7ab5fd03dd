/** `--json` of every command that has it, held to its schema in schemas/json. */

import { readdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { type Output, runProgram, Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { everyCommand } from '../support/every-command.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';

/** Each command is a program of its own, and the machine may be busy. */
jest.setTimeout(60_000);

const SCHEMAS = resolve(import.meta.dirname, '../../schemas/json');
/** Schemas that are of no command. */
const SHARED = ['common', 'progress'];

let host: Xlsnapd;
/** Commands whose output a test has held to its schema. */
const seen = new Set<string>();
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });

/** A program may meet fields that its schema does not have yet; this version prints none of those. */
function withoutOthers(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutOthers);
  if (typeof schema !== 'object' || schema === null) return schema;
  const inner = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, withoutOthers(value)]));
  return inner.type === 'object' ? { additionalProperties: false, ...inner } : inner;
}

beforeAll(async () => {
  for (const file of readdirSync(SCHEMAS)) {
    ajv.addSchema(withoutOthers(JSON.parse(readFileSync(join(SCHEMAS, file), 'utf8'))) as object);
  }
  host = await Xlsnapd.start();
  await host.ok('snapshot-create-as', 'test', 's1', 'the first');
  await host.ok('snapshot-create-as', 'test', 'with space');
  // A guest that is off, with an overlay.
  const disks = { xvda: await newImage(join(host.home, 'a.qcow2')) };
  await writeFile(join(host.home, 'vm.xml'), definitionOf('off', '11111111-2222-3333-4444-000000000009', disks));
  await host.ok('define', join(host.home, 'vm.xml'));
  await host.ok('snapshot-create-as', 'off', 'over', '--disk-only');
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

const xlsnap = (...args: readonly string[]): Promise<Output> => runProgram([...XLSNAP, '-c', host.uri], args);

/** Returns a value that its schema describes. */
function fitting(name: string, text: string): unknown {
  const value: unknown = JSON.parse(text);
  const fits = ajv.getSchema(`urn:xlsnap:json:${name}:1`);
  if (!fits) throw new Error(`no schema for ${name}`);
  fits(value);
  expect({ value, errors: fits.errors ?? [] }).toEqual({ value, errors: [] });
  seen.add(name);
  return value;
}

/** The one value that a command prints. */
async function json(command: string, ...args: readonly string[]): Promise<unknown> {
  const { stdout, stderr, status } = await xlsnap(command, ...args, '--json');
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(stdout).toMatch(/[\]}]\n$/);
  return fitting(command, stdout);
}

const s1 = {
  name: 's1',
  description: 'the first',
  state: 'running',
  creationTime: expect.any(Number),
  location: 'internal',
  memory: { snapshot: 'internal' },
  disks: [{ name: 'xvda', snapshot: 'internal' }],
};

describe('JSON', () => {
  test('of lists, names and trees', async () => {
    expect(await json('snapshot-list', 'test')).toEqual([
      s1,
      { ...s1, name: 'with space', description: undefined, parent: 's1' },
    ]);
    expect(await json('snapshot-list', 'test', '--name')).toEqual(['s1', 'with space']);
    expect(await json('snapshot-list', 'test', '--tree')).toEqual([
      { name: 's1' },
      { name: 'with space', parent: 's1' },
    ]);
    expect(await json('snapshot-list', 'test', '--inactive')).toEqual([]);
  });

  test('of one snapshot', async () => {
    expect(await json('snapshot-info', 'test', 'with space')).toEqual({
      name: 'with space',
      domain: 'test',
      current: true,
      state: 'running',
      location: 'internal',
      parent: 's1',
      children: 0,
      descendants: 0,
      metadata: true,
      protected: false,
    });
    expect(await json('snapshot-dumpxml', 'test', 's1')).toEqual(s1);
    expect(await json('snapshot-dumpxml', 'test', 's1', '--xpath', '//disk/@name')).toEqual([' name="xvda"']);
    expect(await json('snapshot-create-as', 'test', 'x', '--print-xml')).toEqual({
      xml: '<domainsnapshot>\n  <name>x</name>\n</domainsnapshot>\n',
    });
    expect(await json('snapshot-parent', 'test', 'with space')).toEqual({ name: 's1' });
    expect(await json('snapshot-current', 'test', '--name')).toEqual({ name: 'with space' });
    expect(await json('snapshot-current', 'test')).toMatchObject({ name: 'with space', parent: 's1' });
  });

  test('of what was done', async () => {
    const done = { domain: 'test', snapshot: 'j1' };
    const edited = join(host.home, 'j1.xml');
    expect(await json('snapshot-create-as', 'test', 'j1')).toEqual(done);
    expect(await json('snapshot-create-as', 'test', 'j2', '--check')).toMatchObject({ pause: 'memory' });
    expect(await json('snapshot-create', 'test', '--check')).toMatchObject({ domain: 'test' });
    await writeFile(edited, '<domainsnapshot><name>j2</name></domainsnapshot>');
    expect(await json('snapshot-create', 'test', edited)).toEqual({ ...done, snapshot: 'j2' });
    expect(await json('snapshot-revert', 'test', 'j1')).toEqual(done);
    expect(await json('snapshot-current', 'test', 'j1')).toEqual(done);
    await writeFile(edited, (await xlsnap('export', 'test', 'j1')).stdout);
    await host.ok('snapshot-delete', 'test', 'j1', '--metadata');
    expect(await json('import', 'test', edited)).toEqual(done);
    const protection = { domain: 'test', snapshots: ['j1'] };
    expect(await json('protect', 'test', 'j1')).toEqual({ ...protection, protected: true });
    expect(await json('snapshot-list', 'test')).toContainEqual(
      expect.objectContaining({ name: 'j1', protected: true }),
    );
    expect(await json('unprotect', 'test', 'j1')).toEqual({ ...protection, protected: false });
    expect(await json('snapshot-delete', 'test', 'j1')).toEqual(done);
  });

  test('of an edit', async () => {
    const editor = { EDITOR: "sed -i 's/the first/number one/'" };
    const { stdout } = await runProgram([...XLSNAP, '-c', host.uri], ['snapshot-edit', 'test', 's1', '--json'], editor);
    expect(fitting('snapshot-edit', stdout)).toEqual({ domain: 'test', snapshot: 's1' });
  });

  test('of trees, sizes and checks', async () => {
    for (const command of ['tree', 'du']) for (const domain of ['test', 'off']) await json(command, domain);
    expect(await json('verify', 'off', '--hash')).toContainEqual({
      domain: 'off',
      snapshot: 'over',
      findings: [],
      hashes: { disks: { xvda: expect.stringMatching(/^[0-9a-f]{64}$/) } },
    });
    await json('verify', 'test', '--hash');
    await writeFile(join(host.home, 'memory/left.new'), '');
    expect((fitting('doctor', (await xlsnap('doctor', '--json')).stdout) as unknown[]).length).toBeGreaterThan(0);
    fitting('doctor', (await xlsnap('doctor', '--fix', '--json')).stdout);
  });

  test('of rolling snapshots, of which one guest’s failed', async () => {
    const { stdout, status } = await xlsnap('rotate', 'nobody', 'test', '--label', 'r', '--keep', '1', '--json');
    expect(status).toBe(1);
    expect(fitting('rotate', stdout)).toHaveLength(2);
  });

  test('of a disk that is served', async () => {
    await using terminal = new Terminal([...XLSNAP, '-c', host.uri, 'nbd', 'off', 'over', 'xvda', '--json']);
    await terminal.until(/\}/);
    fitting('nbd', terminal.shown.replaceAll('\r', ''));
    terminal.press('\x03');
    await terminal.ended();
  });

  test('of what an installation would do', async () => {
    const root = join(host.home, 'root');
    await json('install', '--root', root);
    await json('uninstall', '--root', root, '--dry-run');
  });

  test('of the progress, a line each, apart from the result', async () => {
    const { stdout, stderr, status } = await xlsnap('snapshot-create-as', 'test', 'p1', '--json', '--progress-json');
    expect({ status, value: fitting('snapshot-create-as', stdout) }).toMatchObject({ status: 0 });
    const lines = stderr.trimEnd().split('\n');
    for (const line of lines) fitting('progress', line);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ type: 'completed', operation: 'snapshot' });
    const revert = await xlsnap('snapshot-revert', 'test', 'p1', '--progress-json');
    expect(fitting('progress', revert.stderr.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
      type: 'completed',
      operation: 'snapshot-revert',
      phases: { restore: expect.any(Number) },
    });
  });

  test('errors stay words, and go where errors go', async () => {
    expect(await xlsnap('snapshot-info', 'test', 'nosuch', '--json')).toEqual({
      stdout: '\n',
      stderr: "error: Domain snapshot not found: no domain snapshot with matching name 'nosuch'\n",
      status: 1,
    });
  });
});

test('every command with --json has a schema, and was held to it here', async () => {
  const commands = (await everyCommand()).filter(({ options }) => options.some(({ name }) => name === 'json'));
  const names = commands.map(({ name }) => name).sort();
  const schemas = readdirSync(SCHEMAS).map((file) => file.replace(/\.json$/, ''));
  expect(schemas.filter((name) => !SHARED.includes(name)).sort()).toEqual(names);
  expect([...seen].filter((name) => !SHARED.includes(name)).sort()).toEqual(names);
});
