/** verify before a real xlsnapd, with real images that are then damaged one by one. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';

/** Each command is a program of its own, and the machine may be busy. */
const TEST_TIMEOUT_MS = 60_000;
jest.setTimeout(TEST_TIMEOUT_MS);

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const run = promisify(execFile);

let daemon: Xlsnapd;
let files: string;
/** What a test has damaged is whole again after it. */
const repairs: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  files = await mkdtemp(join(tmpdir(), 'xlsnap-verify-'));
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await daemon.ok('snapshot-create-as', 'test', 's2');
  // A second domain, off, on an image in two layers.
  await newImage(join(files, 'base'));
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', join(files, 'base'), '-F', 'qcow2', join(files, 'top')]);
  await writeFile(
    join(files, 'off.xml'),
    definitionOf('off', '11111111-2222-3333-4444-000000000003', { xvda: join(files, 'top') }),
  );
  await daemon.ok('define', join(files, 'off.xml'));
  await daemon.ok('snapshot-create-as', 'off', 'cold');
});

afterEach(async () => {
  for (const repair of repairs.splice(0).reverse()) await repair();
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(files, { recursive: true, force: true });
});

const memory = (name: string) => join(daemon.home, 'memory', UUID, `${name}.save`);
const metadata = (file: string) => join(daemon.home, 'snapshot/test', file);

function verify(...words: readonly string[]): Promise<Output> {
  return runProgram(XLSNAP, ['-q', '-c', daemon.uri, 'verify', ...words]);
}

async function moveAway(path: string): Promise<void> {
  await rename(path, `${path}.away`);
  repairs.push(() => rename(`${path}.away`, path));
}

async function damage(path: string, offset: number, bytes: Buffer): Promise<void> {
  const before = await readFile(path);
  repairs.push(() => writeFile(path, before));
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
}

async function expectFinding(words: readonly string[], problem: string, wayOut: string): Promise<void> {
  const { status, stdout, stderr } = await verify(...words);
  expect(stdout).toContain(problem);
  expect(stdout).toContain(`way out: ${wayOut}`);
  expect(stderr).toMatch(/^error: \d+ problems? found\n$/);
  expect(status).toBe(1);
}

test('case 19: all domains and snapshots are whole, in folders that the daemon names', async () => {
  const { status, stdout } = await verify();
  expect(stdout.split('\n').filter(Boolean)).toEqual([
    'domain test, snapshot s1: ok',
    'domain test, snapshot s2: ok',
    'domain test, files and images: ok',
    'domain off, snapshot cold: ok',
    'domain off, files and images: ok',
  ]);
  expect(status).toBe(0);
});

test('hashes are those that sha256sum and qemu-img give', async () => {
  const raw = join(files, 'raw');
  const image = join(daemon.home, 'state/test.qcow2');
  await run('qemu-img', ['convert', '-U', '-l', 'snapshot.name=s2', '-O', 'raw', image, raw]);
  const sha256 = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  const { stdout } = await verify('test', 's2', '--hash', '--json');
  expect(JSON.parse(stdout)).toEqual([
    {
      ...{ domain: 'test', snapshot: 's2', findings: [] },
      hashes: { memory: await sha256(memory('s2')), disks: { xvda: await sha256(raw) } },
    },
  ]);
});

test('a memory image that is gone, cut short, no image, or of another domain', async () => {
  await moveAway(memory('s1'));
  await expectFinding(
    ['test', 's1'],
    `Failed to open domain image file '${memory('s1')}'`,
    `put '${memory('s1')}' back`,
  );
  await writeFile(memory('s1'), 'libvirt-xml\n');
  await expectFinding(['test', 's1'], `failed to read libxl header: ${memory('s1')}`, 'put ');
  await writeFile(memory('s1'), Buffer.alloc(100));
  await expectFinding(['test', 's1'], `image magic is incorrect: ${memory('s1')}`, 'put ');
  const whole = await readFile(`${memory('s1')}.away`);
  await writeFile(memory('s1'), whole.subarray(0, -4096));
  await expectFinding(['test', 's1'], `memory image '${memory('s1')}' has`, 'put ');
  const other = (await readFile(`${memory('s1')}.away`, 'latin1')).replace(UUID, UUID.replace('6', '7'));
  await writeFile(memory('s1'), other, 'latin1');
  await expectFinding(['test', 's1'], `memory image '${memory('s1')}' belongs to domain 'test' uuid 7695`, 'put ');
  expect((await verify('test', 's2')).status).toBe(0);
});

test('an image that is gone, or has lost its snapshot', async () => {
  await moveAway(join(files, 'top'));
  await expectFinding(['off', 'cold'], `cannot read image '${join(files, 'top')}'`, 'put the image back');
  await newImage(join(files, 'top'));
  await expectFinding(
    ['off', 'cold'],
    `image '${join(files, 'top')}' of disk 'xvda' has no internal snapshot 'cold'`,
    'the captured contents of the disk are lost; delete the snapshot: xlsnap snapshot-delete off cold',
  );
});

test('a chain that is broken beneath', async () => {
  await moveAway(join(files, 'base'));
  await expectFinding(
    ['off', 'cold'],
    `cannot read image '${join(files, 'base')}'`,
    'put the image back (is its file system mounted?), or delete only the metadata',
  );
});

test('an image with damaged tables', async () => {
  // The refcounts of a new image are in its third cluster.
  await damage(join(files, 'base'), 2 * 65536, Buffer.alloc(8));
  await expectFinding(
    ['off'],
    `image '${join(files, 'base')}' has`,
    `copy '${join(files, 'base')}' away, then run: qemu-img`,
  );
});

test('metadata that cannot be read, is gone, or came behind the daemon’s back', async () => {
  await writeFile(metadata('junk.xml'), '<domainsnapshot>');
  repairs.push(() => rm(metadata('junk.xml'), { force: true }));
  await expectFinding(['test'], `Failed to parse snapshot XML from file '${metadata('junk.xml')}'`, 'repair the file');
  await rm(metadata('junk.xml'));
  const text = (await readFile(metadata('s2.xml'), 'utf8'))
    .replace('<name>s2</name>', '<name>s3</name>')
    .replace('<active>1', '<active>0');
  await writeFile(metadata('s3.xml'), text);
  repairs.push(() => rm(metadata('s3.xml')));
  await expectFinding(
    ['test'],
    "snapshot 's3' has a file but is not listed",
    'the file was added while xlsnapd was running',
  );
  const s1 = await readFile(metadata('s1.xml'));
  repairs.push(() => writeFile(metadata('s1.xml'), s1));
  await rm(metadata('s1.xml'));
  await expectFinding(['test'], "snapshot 's1' has no file in", 'write it again before xlsnapd is restarted');
});

test('a domain or a snapshot that is not there is refused in virsh’s words', async () => {
  expect((await verify('nobody')).stderr).toBe("error: failed to get domain 'nobody'\n");
  expect((await verify('test', 'nothing')).stderr).toBe(
    "error: Domain snapshot not found: no domain snapshot with matching name 'nothing'\n",
  );
});

test('memory that does not go with its disks any more', async () => {
  await daemon.ok('destroy', 'test');
  const image = join(daemon.home, 'state/test.qcow2');
  for (const option of ['-d', '-c']) await run('qemu-img', ['snapshot', option, 's2', image]);
  await expectFinding(
    ['test', 's2'],
    `memory image '${memory('s2')}' of snapshot 's2' does not go with its disks`,
    'put ',
  );
  expect((await verify('test', 's1')).status).toBe(0);
});

test('over a libvirtd with another driver, its memory images are taken as they are', async () => {
  await using libvirtd = await startLibvirtd();
  await using over = await Xlsnapd.start({ args: ['--upstream', libvirtd.socket] });
  await chmod(over.home, 0o755);
  const xml = join(files, 'through.xml');
  await newImage(join(over.home, 'image'));
  const definition = definitionOf('through', '11111111-2222-3333-4444-000000000004', {
    xvda: join(over.home, 'image'),
  });
  await writeFile(xml, definition.replace("type='xen'", "type='test'"));
  await over.ok('define', xml);
  await over.ok('start', 'through');
  await over.ok('snapshot-create-as', 'through', 's');
  const folders = ['--memory-dir', join(over.home, 'memory'), '--snapshot-dir', join(over.home, 'snapshot')];
  const verifyThere = () => runProgram(XLSNAP, ['-q', '-c', over.uri, 'verify', 'through', 's', ...folders]);
  expect(await verifyThere()).toEqual({ status: 0, stdout: 'domain through, snapshot s: ok\n', stderr: '' });
  await writeFile(join(over.home, 'memory/11111111-2222-3333-4444-000000000004/s.save'), '');
  expect((await verifyThere()).stdout).toContain('failed to read libxl header');
});

test('a pipe in the place of the data file of an image is named, and not waited for', async () => {
  const [image, data] = [join(files, 'split'), join(files, 'split.data')];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${data}`, image, '1M']);
  await writeFile(
    join(files, 'split.xml'),
    definitionOf('split', '11111111-2222-3333-4444-000000000004', { xvda: image }),
  );
  await daemon.ok('define', join(files, 'split.xml'));
  await daemon.ok('snapshot-create-as', 'split', 'd1', '--disk-only');
  await rm(data);
  await run('mkfifo', [data]);
  const { status, stdout } = await verify('split');
  expect(status).toBe(1);
  expect(stdout).toContain(`data file of image '${image}': '${data}' is neither a regular file nor a block device`);
  const doctor = await runProgram(XLSNAP, ['-q', '-c', daemon.uri, 'doctor']);
  expect(doctor.stdout).not.toContain('was ended');
  await daemon.ok('undefine', 'split', '--snapshots-metadata');
});
