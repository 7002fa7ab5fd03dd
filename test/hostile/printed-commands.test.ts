/** Commands that messages print, with names from journals, images, folders and clients, pasted into a real /bin/sh. */

import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { isPrintable } from '../../src/model/messages/printable.ts';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { HOSTILE_NAMES } from '../support/hostile-names.ts';
import { definitionOf, newImage, qemuImg } from '../support/hosts/embedded.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const NAMES = Object.values(HOSTILE_NAMES).filter((name) => !name.includes('/'));
/** Those that a client can give a domain or a snapshot. */
const GIVEN = NAMES.filter((name) => isPrintable(name) && name === name.trim());

let home: string;
let pasted: string;
let daemon: Xlsnapd;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  pasted = await mkdtemp(join(tmpdir(), 'xlsnap-pasted-'));
  for (const program of ['virsh', 'xlsnap', 'qemu-img', 'touch']) {
    await writeFile(join(pasted, program), `#!/bin/sh\nprintf '%s\\0' "\${0##*/}" "$@"\nprintf '\\0'\n`);
    await chmod(join(pasted, program), 0o755);
  }
  daemon = await Xlsnapd.start({ home });
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  for (const folder of [home, pasted]) await rm(folder, { recursive: true, force: true });
});

function xlsnap(...words: readonly string[]): Promise<Output> {
  return runProgram(XLSNAP, ['-c', daemon.uri, ...words]);
}

const doctor = (): Promise<Output> =>
  xlsnap(
    'doctor',
    '--memory-dir',
    join(home, 'memory'),
    '--snapshot-dir',
    join(home, 'snapshot'),
    '--state-dir',
    join(home, 'state'),
  );

/** Runs a command as a shell would when it is pasted, with programs that only print their words. */
async function paste(command: string): Promise<readonly string[]> {
  const env = { PATH: `${pasted}:${process.env.PATH}` };
  const printed = execFileSync('/bin/sh', ['-c', command], { cwd: pasted, env, encoding: 'utf8' });
  const calls = printed.split('\0\0').slice(0, -1);
  expect({ command, calls: calls.length }).toEqual({ command, calls: 1 });
  expect((await readdir(pasted)).sort()).toEqual(['qemu-img', 'touch', 'virsh', 'xlsnap']);
  return (calls[0] ?? '').split('\0');
}

/** Pastes the command after `mark` of every line that has one. The text cannot control a terminal. */
async function pasteAll(text: string, mark: RegExp): Promise<readonly (readonly string[])[]> {
  const lines = text.split('\n');
  for (const line of lines) expect({ line, isPrintable: isPrintable(line) }).toEqual({ line, isPrintable: true });
  const commands = lines.flatMap((line) => mark.exec(line)?.[1] ?? []);
  return await Promise.all(commands.map(paste));
}

/** The words of an interrupted revert with --paused. */
function reverted(domain: string, snapshot: string): readonly string[] {
  const isOption = [domain, snapshot].some((name) => name.startsWith('-'));
  return isOption
    ? ['virsh', 'snapshot-revert', '--paused', '--', domain, snapshot]
    : ['virsh', 'snapshot-revert', domain, snapshot, '--paused'];
}

const uuidOf = (at: number): string => `11111111-2222-3333-4444-${String(at).padStart(12, '0')}`;

async function interruptRevert(domain: { readonly name: string; readonly uuid: string }, snapshot: string) {
  await mkdir(join(home, 'state/journal'), { recursive: true });
  const record = { domain: { ...domain, id: -1 }, operation: 'revert', snapshot, flags: 2, phase: 'disks' };
  await writeFile(join(home, 'state/journal', `${domain.uuid}.json`), JSON.stringify(record));
}

test('doctor: operations that the journal records', async () => {
  for (const [at, name] of NAMES.entries()) await interruptRevert({ name, uuid: uuidOf(at) }, name);
  const { stdout } = await doctor();
  expect(await pasteAll(stdout, /way out: (virsh snapshot-.*)/)).toEqual(NAMES.map((name) => reverted(name, name)));
});

test('the log of a recovery: one line for each, and a command that finishes it', async () => {
  const gone = NAMES.map((name, at) => ({ name, uuid: uuidOf(at) }));
  await daemon.stop();
  for (const domain of gone) await interruptRevert(domain, domain.name);
  await interruptRevert({ name: 'test', uuid: UUID }, HOSTILE_NAMES['a line end'] ?? '');
  daemon = await Xlsnapd.start({ home });
  const image = ({ name, uuid }: { readonly name: string; readonly uuid: string }) =>
    join(home, 'memory', uuid, `${name}.save`);
  expect(new Set(await pasteAll(daemon.log, /brings it back: (.*)/))).toEqual(
    new Set(gone.map((domain) => ['virsh', 'restore', image(domain)])),
  );
  expect(await pasteAll(daemon.log, /to finish it: (.*)/)).toEqual([
    ['virsh', 'snapshot-revert', 'test', 'a\ntouch pwned\nb', '--paused'],
  ]);
  for (const line of daemon.log.trimEnd().split('\n')) expect(line).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z \w+: /);
});

test('doctor: snapshots in the table of an image', async () => {
  await daemon.ok('destroy', 'test');
  const image = join(home, 'state/test.qcow2');
  for (const name of NAMES) await qemuImg('snapshot', '-c', name, image);
  const { stdout } = await doctor();
  const found = await pasteAll(stdout, /: (qemu-img snapshot .*)/);
  expect(new Set(found)).toEqual(new Set(NAMES.map((name) => ['qemu-img', 'snapshot', '-d', name, image])));
});

test('doctor: memory images of domains that are gone', async () => {
  const folder = join(home, 'memory', uuidOf(1));
  await mkdir(folder, { recursive: true });
  for (const name of NAMES) {
    await writeFile(join(folder, `${name}.save`), 'x');
    await utimes(join(folder, `${name}.save`), 1, 1);
  }
  const { stdout } = await doctor();
  const found = await pasteAll(stdout, /: (virsh restore .*)/);
  expect(new Set(found)).toEqual(new Set(NAMES.map((name) => ['virsh', 'restore', join(folder, `${name}.save`)])));
});

test('case 20, verify: snapshots whose image is gone, of domains with such names', async () => {
  const expected: (readonly string[])[] = [];
  for (const [at, name] of GIVEN.entries()) {
    const image = join(home, `${at}.qcow2`);
    await newImage(image);
    await writeFile(join(home, 'domain.xml'), definitionOf(escaped(name), uuidOf(at), { xvda: image }));
    await daemon.ok('define', join(home, 'domain.xml'));
    await writeFile(join(home, 'snapshot.xml'), `<domainsnapshot><name>${escaped(name)}</name></domainsnapshot>`);
    await daemon.ok('snapshot-create', uuidOf(at), join(home, 'snapshot.xml'));
    await rm(image);
    const names = name.startsWith('-') ? ['--metadata', '--', name, name] : [name, name, '--metadata'];
    expected.push(['xlsnap', 'snapshot-delete', ...names]);
  }
  const { stdout } = await xlsnap(
    'verify',
    '--memory-dir',
    join(home, 'memory'),
    '--snapshot-dir',
    join(home, 'snapshot'),
  );
  const found = await pasteAll(stdout, /: (xlsnap snapshot-delete .*)/);
  expect(new Set(found)).toEqual(new Set(expected));
});

test('virsh takes such a command: a snapshot whose name looks like an option is deleted', async () => {
  await writeFile(join(home, 'snapshot.xml'), '<domainsnapshot><name>--metadata</name></domainsnapshot>');
  await daemon.ok('snapshot-create', 'test', join(home, 'snapshot.xml'));
  await interruptRevert({ name: 'test', uuid: UUID }, '--metadata');
  const { stdout } = await doctor();
  expect(stdout).toContain('way out: virsh snapshot-revert --paused -- test --metadata\n');
  await daemon.ok('snapshot-revert', '--paused', '--', 'test', '--metadata');
  expect(await daemon.ok('domstate', 'test')).toContain('paused');
});

test('names do not reach a terminal or a pipe of messages as they are', async () => {
  const name = 'a\u202egnp.exe';
  await daemon.ok('snapshot-create-as', 'test', name);
  const shown = 'a\\xe2\\x80\\xaegnp.exe';
  expect(
    (await xlsnap('verify', 'test', '--memory-dir', join(home, 'memory'), '--snapshot-dir', join(home, 'snapshot')))
      .stdout,
  ).toContain(`snapshot ${shown}: ok`);
  expect((await xlsnap('tree', 'test', '--memory-dir', join(home, 'memory'))).stdout).toContain(shown);
  expect((await xlsnap('snapshot-info', 'test', 'no\x1b]0;x\x07')).stderr).toContain('no\\x1b]0;x\\x07');
  // A pipe gets names as they are: programs read them.
  expect((await xlsnap('snapshot-list', 'test', '--name')).stdout).toContain(name);
  const json = (await xlsnap('snapshot-list', 'test', '--name', '--json')).stdout;
  expect(json).toContain('a\\u202egnp.exe');
  expect(JSON.parse(json)).toEqual([name]);
  expect(await readFile(join(home, 'snapshot/test', `${name}.xml`), 'utf8')).toContain(name);
});

function escaped(name: string): string {
  return name.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
