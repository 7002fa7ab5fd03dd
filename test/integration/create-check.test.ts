/** `--check`: a create that changes nothing, through the front door. */

import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { connect } from '../../src/client/index.ts';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';
import { refusal } from '../support/refusal.ts';

/** Each command is a program of its own, and the machine may be busy. */
jest.setTimeout(60_000);

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
let daemon: Xlsnapd;
const at = (name: string) => join(daemon.home, name);

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  const disks = { xvda: await newImage(at('a.qcow2')), xvdb: await newImage(at('b.qcow2')) };
  await writeFile(at('off.xml'), definitionOf('off', '11111111-2222-3333-4444-000000000009', disks));
  await daemon.ok('define', at('off.xml'));
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(daemon.home, { recursive: true, force: true });
});

const xlsnap = (...words: readonly string[]): Promise<Output> => runProgram(XLSNAP, ['-c', daemon.uri, ...words]);

test('says where a running guest’s memory and disks would go, and for what it would be stopped', async () => {
  const { stdout, stderr, status } = await xlsnap('snapshot-create-as', 'test', 's1', '--check');
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  expect(stdout).toContain('Snapshot s1 of domain test can be taken\n');
  expect(stdout).toMatch(new RegExp(`memory +internal +${daemon.home}/memory/${UUID}/s1.save +[\\d.]+ MiB\n`));
  expect(stdout).toMatch(/xvda +internal +\/\S+ +-\n/);
  expect(stdout).toContain('Pause: the guest is stopped while its memory is written\n');
  const over = await xlsnap(
    'snapshot-create-as',
    'test',
    's1',
    '--check',
    '--disk-only',
    '--diskspec',
    'xvda,file=/tmp/o',
  );
  expect(over.stdout).toMatch(/xvda +external +\/tmp\/o +-\n/);
  expect(over.stdout).toContain('Pause: the guest is stopped while its disks change over\n');
});

test('changes nothing', async () => {
  const files = async () => (await readdir(daemon.home, { recursive: true })).filter((name) => !name.includes('.xml'));
  const before = { files: await files(), image: await readFile(at('a.qcow2')) };
  expect((await xlsnap('snapshot-create-as', 'off', 's1', '--check')).stdout).toContain('Pause: the guest is off\n');
  await xlsnap('snapshot-create-as', 'off', 's1', '--check', '--disk-only');
  expect({ files: await files(), image: await readFile(at('a.qcow2')) }).toEqual(before);
  expect(await snapshotsIn(at('b.qcow2'))).toEqual([]);
  expect((await daemon.ok('snapshot-list', 'off', '--name')).trim()).toBe('');
});

test('is refused as the create is', async () => {
  await daemon.ok('snapshot-create-as', 'off', 'there');
  const cases = [
    ['off', 'there'],
    ['off', 'x', '--disk-only', '--diskspec', `xvda,file=${at('b.qcow2')}`],
    ['off', 'x', '--live'],
    ['test', 'x', '--memspec', `file=${daemon.home}/snapshot/x`],
  ];
  for (const words of cases) {
    const checked = await xlsnap('snapshot-create-as', ...words, '--check');
    expect(checked).toEqual(await xlsnap('snapshot-create-as', ...words));
    expect(checked.status).toBe(1);
  }
  expect((await xlsnap('-r', 'snapshot-create-as', 'off', 'x', '--check')).stderr).toMatch(/read only access prevents/);
  expect((await xlsnap('snapshot-create', 'off', '--redefine', '--check')).stderr).toContain('mutually exclusive');
  await daemon.ok('snapshot-delete', 'off', 'there');
});

test('doctor --host asks for every guest, and fails if one of them could not be saved in any way', async () => {
  const host = async () => {
    const { stdout, stderr, status } = await xlsnap('doctor', '--host');
    return { stdout, stderr, status };
  };
  expect(await host()).toMatchObject({ status: 0, stdout: expect.stringContaining('No problems found') });
  await rename(at('b.qcow2'), at('away'));
  const { stdout, stderr, status } = await host();
  await rename(at('away'), at('b.qcow2'));
  expect({ stderr, status }).toEqual({ stderr: 'error: 2 problems found\n', status: 1 });
  expect(stdout).toMatch(/a snapshot inside the images of domain 'off' would be refused: .*b\.qcow2/);
  expect(stdout).toMatch(/way out: remove the cause; to ask again: xlsnap snapshot-create-as off --disk-only --check/);
  expect((await xlsnap('doctor', '--host', '--fix')).stderr).toContain('mutually exclusive');
});

test('the library has it, too', async () => {
  await using connection = await connect(daemon.uri);
  const guest = await connection.lookupByName('off');
  expect(await guest.snapshotCheck({ name: 'lib' })).toMatch(/<name>lib<\/name>\n {2}<state>shutoff<\/state>/);
  expect((await refusal(guest.snapshotCheck({ name: 'lib', live: true }))).code).toBe('OPERATION_UNSUPPORTED');
  expect((await refusal(guest.snapshotCheck({ redefine: true }))).code).toBe('ARGUMENT_UNSUPPORTED');
});
