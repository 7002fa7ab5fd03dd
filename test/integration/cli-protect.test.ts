/** Protected snapshots before a real xlsnapd, with the real virsh. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { scratchFolder } from '../support/hosts/embedded.ts';

jest.setTimeout(60_000);

let home: Awaited<ReturnType<typeof scratchFolder>>;
let daemon: Xlsnapd;

beforeAll(async () => {
  home = await scratchFolder();
  daemon = await Xlsnapd.start({ home: home.path });
  for (const name of ['first', 'second', 'third']) await daemon.ok('snapshot-create-as', 'test', name);
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

const xlsnap = (...words: readonly string[]): Promise<Output> => runProgram(XLSNAP, ['-c', daemon.uri, ...words]);
const ok = async (...words: readonly string[]): Promise<string> => {
  const { status, stdout, stderr } = await xlsnap(...words);
  expect([words, status, stderr]).toEqual([words, 0, '']);
  return stdout;
};

const REFUSAL =
  "Requested operation is not valid: snapshot 'second' of domain 'test' is protected; " +
  'to be able to delete it: xlsnap unprotect test second';

test('a protected snapshot is shown as one, by list, tree and info', async () => {
  const virshs = await daemon.ok('snapshot-list', 'test');
  expect((await ok('snapshot-list', 'test')).trimEnd()).toBe(virshs.trimEnd());
  expect(await ok('protect', 'test', 'second')).toBe('Domain snapshot second protected\n\n');
  const table = (await ok('snapshot-list', 'test')).split('\n');
  expect(table[0]).toMatch(/ State +Protected$/);
  expect(table.filter((line) => / yes *$/.test(line))).toEqual([expect.stringMatching(/^ second /)]);
  const rows = JSON.parse(await ok('snapshot-list', 'test', '--json')) as { name: string; protected?: true }[];
  expect(rows.filter((row) => row.protected).map(({ name }) => name)).toEqual(['second']);
  expect(await ok('tree', 'test')).toMatch(/─ second \(protected\) /);
  expect(await ok('tree', 'test', '--json')).toContain('"protected": true');
  expect(await ok('snapshot-info', 'test', 'second')).toMatch(/^Protected: +yes$/m);
  expect(await ok('snapshot-info', 'test', 'first')).not.toContain('Protected');
});

test('nobody deletes it, nor undefines its domain, also after a restart, and after it was defined again', async () => {
  await daemon.stop();
  daemon = await Xlsnapd.start({ home: home.path });
  const document = join(home.path, 'second.xml');
  await writeFile(document, await daemon.ok('snapshot-dumpxml', 'test', 'second'));
  await daemon.ok('snapshot-create', 'test', document, '--redefine');
  for (const options of [[], ['--metadata'], ['--children']]) {
    expect(await daemon.refused('snapshot-delete', 'test', 'second', ...options)).toContain(REFUSAL);
  }
  expect(await daemon.refused('snapshot-delete', 'test', 'first', '--children')).toContain(REFUSAL);
  expect(await daemon.refused('undefine', 'test', '--snapshots-metadata')).toContain(REFUSAL);
  expect((await daemon.ok('snapshot-list', 'test', '--name')).trim()).toBe('first\nsecond\nthird');
  await daemon.ok('snapshot-revert', 'test', 'second');
});

test('a read-only client sees what is protected, and changes nothing of it', async () => {
  const readOnly = (...words: readonly string[]) => runProgram(XLSNAP, ['-r', '-c', daemon.uri, ...words]);
  expect((await readOnly('tree', 'test')).stdout).toContain('second * (protected)');
  const { status, stderr } = await readOnly('unprotect', 'test', 'second');
  expect([status, stderr]).toEqual([
    1,
    'error: operation forbidden: read only access prevents changing which snapshots are protected\n',
  ]);
});

test('one name that is wrong, or none, changes nothing', async () => {
  const unknown = await xlsnap('protect', 'test', 'first', 'fourth');
  expect(unknown.stderr).toBe("error: Domain snapshot not found: no domain snapshot with matching name 'fourth'\n");
  expect((await xlsnap('protect', 'test')).stderr).toBe("error: command 'protect' requires <snapshotname> option\n");
  expect(JSON.parse(await ok('tree', 'test', '--json')).snapshots[0]).toMatchObject({
    name: 'first',
    protected: false,
  });
});

test('it can be deleted when the command of the refusal has been run', async () => {
  expect(JSON.parse(await ok('unprotect', 'test', 'second', '--json'))).toEqual({
    ...{ domain: 'test', snapshots: ['second'], protected: false },
  });
  await daemon.ok('snapshot-delete', 'test', 'first', '--children');
  expect((await daemon.ok('snapshot-list', 'test', '--name')).trim()).toBe('');
});
