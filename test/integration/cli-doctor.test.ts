/** doctor before a real xlsnapd, and before none: what interrupted operations have left, and what --fix may touch. */

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { fakeVolumes } from '../support/disks/fake-volumes.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { newImage, qemuImg } from '../support/hosts/embedded.ts';

/** Each command is a program of its own, and the machine may be busy. */
const TEST_TIMEOUT_MS = 60_000;
jest.setTimeout(TEST_TIMEOUT_MS);

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const GONE = '11111111-2222-3333-4444-555555555555';

const run = promisify(execFile);

let home: string;
let daemon: Xlsnapd;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  daemon = await Xlsnapd.start({ home });
  await daemon.ok('snapshot-create-as', 'test', 's1');
});

afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

const at = (...path: readonly string[]) => join(home, ...path);
const image = () => at('state/test.qcow2');

function doctor(...words: readonly string[]): Promise<Output> {
  return runProgram(XLSNAP, ['-c', daemon.uri, 'doctor', ...words]);
}

async function age(path: string): Promise<string> {
  const old = Date.now() / 1000 - 3600;
  await utimes(path, old, old);
  return path;
}

async function oldFile(...path: readonly string[]): Promise<string> {
  await mkdir(dirname(at(...path)), { recursive: true });
  await writeFile(at(...path), 'x');
  return age(at(...path));
}

async function oldFolder(...path: readonly string[]): Promise<string> {
  await mkdir(at(...path), { recursive: true });
  return age(at(...path));
}

test('a sound host has nothing but its way of working', async () => {
  const how =
    'xlsnapd 0.1.0 takes snapshots of running domains by the embedded host: the embedded host has no libvirtd\n';
  expect(await doctor()).toEqual({ status: 0, stdout: `${how}No problems found\n\n`, stderr: '' });
});

test('--fix removes what is certainly left over, says each, and leaves the rest as it is', async () => {
  const leftovers = [
    await oldFile('memory', UUID, 's9.save.partial'),
    await oldFile('memory', `${UUID}.save`),
    await oldFile('snapshot/test/s1.xml.new'),
    await oldFolder('memory', GONE),
    await oldFolder('snapshot/gone'),
  ];
  const others = [
    await oldFile('memory', UUID, 'notes.txt'),
    await oldFile('memory', UUID, 's2.save'),
    await oldFile('snapshot/former/a.xml'),
    at('memory', UUID, 's1.save'),
    at('snapshot/test/s1.xml'),
  ];
  await writeFile(at('memory', UUID, 'now.save.partial'), 'x');
  const look = await doctor();
  expect(look.stderr).toBe('error: 7 problems found\n');
  for (const path of leftovers) expect(look.stdout).toContain(path);

  const fixed = await doctor('--fix');
  for (const path of leftovers) expect(fixed.stdout).toMatch(new RegExp(`^Removed (file|empty folder) ${path}$`, 'm'));
  expect(fixed.stderr).toBe('error: 2 problems found\n');
  const left = (await readdir(home, { recursive: true })).map((path) => at(path));
  for (const path of leftovers) expect(left).not.toContain(path);
  for (const path of [...others, at('memory', UUID, 'now.save.partial')]) expect(left).toContain(path);
  await daemon.ok('snapshot-revert', 'test', 's1');
});

test('a snapshot whose metadata was deleted is reported, and deleted only where that is asked for', async () => {
  await daemon.ok('snapshot-create-as', 'test', 's2');
  await qemuImg('snapshot', '-U', '-l', image());
  await daemon.ok('snapshot-delete', 'test', 's2', '--metadata');
  const memory = at('memory', UUID, 's2.save');
  expect((await doctor('--fix')).stdout).toContain(
    `memory image '${memory}' belongs to snapshot 's2' of domain 'test', which has no metadata`,
  );
  expect(await snapshotsIn(image())).toEqual(['s1', 's2']);
  const { stdout, status } = await doctor('--fix', '--orphans');
  expect(stdout).toContain(`Deleted snapshot s2 of domain test with its memory ${memory}`);
  expect(status).toBe(0);
  expect(await snapshotsIn(image())).toEqual(['s1']);
  expect(await readdir(at('memory', UUID))).toEqual(['s1.save']);
  expect((await daemon.ok('snapshot-list', 'test', '--name')).trim()).toBe('s1');
});

test('snapshots in images, and layers over them, that nobody names are reported and never touched', async () => {
  await daemon.ok('destroy', 'test');
  await qemuImg('snapshot', '-c', 'foreign', image());
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', image(), '-F', 'qcow2', at('state/layer'));
  const { stdout, status } = await doctor('--fix', '--orphans');
  expect(stdout).toContain(`image '${image()}' has an internal snapshot 'foreign' that no domain's metadata names`);
  expect(stdout).toContain(`'${at('state/layer')}' is an overlay of '${image()}' that no domain or snapshot names`);
  expect(status).toBe(0);
  expect(await snapshotsIn(image())).toEqual(['s1', 'foreign']);
  expect(await readdir(at('state'))).toContain('layer');
});

/** Runs the command at the end of a way out. */
async function pasted(wayOut: string): Promise<void> {
  const command = wayOut
    .replace(/^.*?'[^']*': /, '')
    .replaceAll('virsh ', `virsh -c '${daemon.uri}' `)
    .replaceAll('xlsnap import', `${XLSNAP.join(' ')} -c '${daemon.uri}' import`);
  await run('sh', ['-c', command]);
}

test('case 21: the overlay of a snapshot without metadata is reported, and the command that is printed merges it', async () => {
  const overlay = at('state/test.b1');
  for (const state of ['running', 'off']) {
    if (state === 'off') await daemon.ok('destroy', 'test');
    await daemon.ok('snapshot-create-as', 'test', 'b1', '--disk-only', '--atomic', '--no-metadata');
    const [found] = JSON.parse((await doctor('--json')).stdout);
    expect(found.problem).toContain(`disk 'xvda' of domain 'test' is on overlay '${overlay}' (`);
    const merging = state === 'running' ? 'virsh blockcommit test xvda --active --pivot --delete' : 'printf ';
    expect(found.wayOut).toContain(`to merge it into '${image()}': ${merging}`);
    await pasted(found.wayOut);
    expect(await daemon.ok('domblklist', 'test')).toContain(image());
    expect(await readdir(at('state'))).not.toContain('test.b1');
    expect(JSON.parse((await doctor('--json')).stdout)).toEqual([]);
    expect((await daemon.ok('snapshot-list', 'test', '--name')).trim()).toBe('s1');
  }
});

test('an overlay above that of a snapshot is merged into that one alone, and the snapshot stays', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'e1', '--disk-only');
  await daemon.ok('snapshot-create-as', 'test', 'b1', '--disk-only', '--no-metadata');
  const [found] = JSON.parse((await doctor('--json')).stdout);
  expect(found.wayOut).toContain('virsh blockcommit test xvda --active --pivot --shallow --delete');
  await pasted(found.wayOut);
  expect(await daemon.ok('domblklist', 'test')).toContain(at('state/test.e1'));
  expect(JSON.parse((await doctor('--json')).stdout)).toEqual([]);
  await daemon.ok('snapshot-delete', 'test', 'e1');
  expect(await daemon.ok('domblklist', 'test')).toContain(image());
});

test('memory whose disks were made again is reported with its size, and removed with --orphans, also of a domain that is gone', async () => {
  await daemon.ok('destroy', 'test');
  await daemon.ok('undefine', 'test', '--snapshots-metadata');
  const memory = at('memory', UUID, 's1.save');
  expect((await doctor('--fix', '--orphans')).stdout).toMatch(/belongs to a domain that does not exist \([\d.]+ KiB\)/);
  await rm(image());
  await newImage(image());
  const [found] = JSON.parse((await doctor('--fix', '--json')).stdout);
  expect(found).toMatchObject({ level: 'problem', bytes: expect.any(Number) });
  expect(found.problem).toMatch(
    /snapshot 's1', which has no metadata and whose disk images hold other contents now \(.* KiB\)$/,
  );
  expect((await doctor('--fix', '--orphans')).stdout).toContain(`Removed file ${memory}`);
  expect(await readdir(at('memory'))).not.toContain(UUID);
});

test('snapshot volumes of LVM and ZFS without metadata are reported, and deleted only where that is asked for; what a revert left never', async () => {
  await using volumes = await fakeVolumes({
    'tank/a': { contents: 'a' },
    'vg/vm': { contents: 'b' },
    'vg/vm.backup': { contents: 'b', origin: 'vm' },
    'tank/a@nightly': { contents: 'a' },
  });
  await daemon.stop();
  daemon = await Xlsnapd.start({ home });
  const xml = at('v.xml');
  const block = (dev: string, target: string) =>
    `<disk type='block' device='disk'><driver name='phy' type='raw'/><source dev='${dev}'/><target dev='${target}'/></disk>`;
  await writeFile(
    xml,
    `<domain type='test'><name>v</name><memory>4096</memory><os><type>hvm</type></os><devices>
     ${block('/dev/zvol/tank/a', 'xvda')}${block('/dev/vg/vm', 'xvdb')}</devices></domain>`,
  );
  await daemon.ok('define', xml);
  for (const name of ['kept', 'gone 1', 'gone2']) await daemon.ok('snapshot-create-as', 'v', name);
  const before = Object.keys(await volumes.volumes());
  expect((await doctor()).stdout).toMatch(/\nNo problems found\n\n$/);
  for (const name of ['gone 1', 'gone2']) await daemon.ok('snapshot-delete', 'v', name, '--metadata');
  const { stdout, stderr } = await doctor('--fix');
  for (const [name, zvol, lv] of [
    ['gone 1', 'gone:201', 'gone+201'],
    ['gone2', 'gone2', 'gone2'],
  ]) {
    const found = `'tank/a@xlsnap.${zvol}', 'vg/vm.xlsnap.${lv}': belong to snapshot '${name}' of domain 'v', which has no metadata`;
    expect(stdout).toContain(found);
  }
  expect(stderr).toBe('error: 2 problems found\n');
  expect(Object.keys(await volumes.volumes())).toEqual(before);
  const fixed = await doctor('--fix', '--orphans');
  expect(fixed.stdout).toContain('Deleted snapshot gone 1 of domain v from its volumes');
  expect(fixed.status).toBe(0);
  expect(Object.keys(await volumes.volumes())).toEqual(before.filter((name) => !name.includes('gone')));
  expect((await daemon.ok('snapshot-list', 'v', '--name')).trim()).toBe('kept');

  await volumes.change('vg/vm.xlsnap-pre', { origin: 'vm' });
  const [left, ...others] = JSON.parse((await doctor('--fix', '--orphans', '--json')).stdout);
  expect(others).toEqual([]);
  expect(left.problem).toMatch(/^volume 'vg\/vm\.xlsnap-pre' holds what a disk of domain 'v' held before a revert/);
  expect(left.wayOut).toContain('lvremove -y -- vg/vm.xlsnap-pre');
  expect(await volumes.volumes()).toHaveProperty(['vg/vm.xlsnap-pre']);
});

test('a guest that has ended in a pivot that may have been done is reported, until the images decide it', async () => {
  await daemon.ok('snapshot-create-as', 'test', 'b1', '--disk-only', '--no-metadata');
  const [overlay, base] = [at('state/test.b1'), image()];
  await daemon.stop('SIGKILL');
  const layer = { disk: 'xvda', top: { path: overlay, format: 'qcow2' }, base: { path: base, format: 'qcow2' } };
  const record = {
    domain: { name: 'test', uuid: UUID, id: 99 },
    jobs: [{ kind: 'active-commit', disk: 'xvda', pivot: true, remove: true, layer }],
  };
  const path = at(`state/block-jobs/${UUID}.json`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, JSON.stringify(record));
  // Without its image the guest stays off.
  await rename(overlay, `${overlay}.away`);
  daemon = await Xlsnapd.start({ home });
  const wayOut = `qemu-img create -f qcow2 -b ${base} -F qcow2 ${overlay}`;
  expect(daemon.log).toContain(`if that is '${base}': ${wayOut}; else: qemu-img commit ${overlay}`);
  expect((await doctor()).stdout).toContain(
    "domain 'test' has ended with a block job on disk 'xvda', which is not settled",
  );
  expect(await daemon.refused('snapshot-delete', 'test', 's1')).toContain(
    'nobody knows which block jobs the domain has',
  );
  await daemon.stop();
  await run('sh', ['-c', wayOut]);
  daemon = await Xlsnapd.start({ home });
  expect(daemon.log).toContain("block job on disk 'xvda' of domain 'test': its guest has ended; it was completed");
  expect((await doctor()).stdout).not.toContain('not settled');
});

test('an operation that was interrupted is told in plain words, and keeps --fix away from its domain', async () => {
  const partial = await oldFile('memory', UUID, 's9.save.partial');
  const pending = { operation: 'revert', snapshot: 's1', flags: 2, phase: 'disks' };
  await mkdir(at('state/journal'), { recursive: true });
  await writeFile(
    at('state/journal', `${UUID}.json`),
    JSON.stringify({ domain: { name: 'test', uuid: UUID, id: 1 }, ...pending }),
  );
  const { stdout, status } = await doctor('--fix');
  expect(stdout).toContain(
    "reverting to snapshot 's1' of domain 'test' was interrupted in phase 'disks' and is not recovered\n" +
      '  way out: virsh snapshot-revert test s1 --paused\n',
  );
  expect(stdout).toContain(`memory image '${partial}' is unfinished\n  way out: first finish the operation`);
  expect(status).toBe(1);
  await daemon.ok('snapshot-revert', 'test', 's1', '--paused');
  expect((await doctor('--fix')).stdout).toContain(`Removed file ${partial}`);
});

test('without the daemon it tells what the daemon will mend, and touches nothing', async () => {
  await daemon.stop('SIGKILL');
  const partial = await oldFile('memory', UUID, 's9.save.partial');
  const pending = { operation: 'create', snapshot: 's9', flags: 0, phase: 'saving' };
  await writeFile(
    at('state/journal', `${UUID}.json`),
    JSON.stringify({ domain: { name: 'test', uuid: UUID, id: 1 }, ...pending }),
  );
  const { stdout, stderr, status } = await doctor('--fix', '--state-dir', at('state'));
  expect(stdout).toBe(
    "taking snapshot 's9' of domain 'test' was interrupted in phase 'saving' and is not recovered\n" +
      '  way out: start xlsnapd, which recovers what it can\n\n',
  );
  expect(stderr).toContain('error: failed to connect to the hypervisor');
  expect(status).toBe(1);
  expect(await readFile(partial, 'utf8')).toBe('x');
});

test('as JSON: each finding with what was done', async () => {
  const partial = await oldFile('memory', UUID, 's9.save.partial');
  const { stdout, status } = await doctor('--fix', '--json');
  expect(JSON.parse(stdout)).toEqual([
    {
      level: 'problem',
      problem: `memory image '${partial}' is unfinished`,
      wayOut: 'xlsnap doctor --fix removes it',
      done: `Removed file ${partial}`,
    },
  ]);
  expect(status).toBe(0);
});
