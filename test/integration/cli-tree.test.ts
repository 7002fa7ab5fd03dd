/** tree, du, export and import, before a real xlsnapd with real images. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { DOMAIN_SNAPSHOT, fromLibxlJson } from '../../src/libxl/structs.ts';
import { type Output, runProgram, Terminal, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';

/** Each command is a program of its own, and the machine may be busy. */
const TEST_TIMEOUT_MS = 60_000;
jest.setTimeout(TEST_TIMEOUT_MS);

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const SECOND = '11111111-2222-3333-4444-000000000002';

let daemon: Xlsnapd;
let files: string;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  files = await mkdtemp(join(tmpdir(), 'xlsnap-tree-'));
  await daemon.ok('snapshot-create-as', 'test', 's1');
  await daemon.ok('snapshot-create-as', 'test', 's2');
  await daemon.ok('snapshot-revert', 'test', 's1');
  await daemon.ok('snapshot-create-as', 'test', 's3');
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(files, { recursive: true, force: true });
});

const xlsnap = (...words: readonly string[]): Promise<Output> => runProgram(XLSNAP, ['-q', '-c', daemon.uri, ...words]);

/** A command that looks into the daemon's folders. */
async function look(...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await xlsnap(...words, '--memory-dir', join(daemon.home, 'memory'));
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

const memoryOf = (name: string) => join(daemon.home, 'memory', UUID, `${name}.save`);

test('a tree has colours on a terminal, but not with NO_COLOR, and not in a pipe', async () => {
  const words = ['-c', daemon.uri, 'tree', 'test', '--memory-dir', join(daemon.home, 'memory')];
  const colour = '\x1b[';
  await using terminal = new Terminal([...XLSNAP, ...words], { TERM: 'xterm' });
  expect(await terminal.ended()).toBe(0);
  expect(terminal.shown).toContain(colour);
  await using plain = new Terminal([...XLSNAP, ...words], { TERM: 'xterm', NO_COLOR: '1' });
  expect(await plain.ended()).toBe(0);
  expect(plain.shown).not.toContain(colour);
  expect((await runProgram(XLSNAP, words)).stdout).not.toContain(colour);
});

describe('tree', () => {
  test('shows state, kind, size and age, and marks the current one', async () => {
    const ages = (await look('tree', 'test')).replace(/[\d.]+ KiB +\d+ (s|min)$/gm, 'SIZE');
    expect(ages.trimEnd()).toBe(
      ` s1         running   internal   SIZE
 ├─ s2      running   internal   SIZE
 └─ s3 *    running   internal   SIZE`,
    );
  });

  test('as JSON has the same, and the files', async () => {
    const { snapshots } = JSON.parse(await look('tree', UUID, '--json'));
    expect(snapshots).toMatchObject([
      {
        name: 's1',
        current: false,
        memory: memoryOf('s1'),
        disks: [{ target: 'xvda', image: join(daemon.home, 'state/test.qcow2') }],
        children: [{ name: 's2' }, { name: 's3', current: true, children: [] }],
      },
    ]);
    expect(snapshots[0].bytes).toBe((await stat(memoryOf('s1'))).blocks * 512);
  });

  test('sizes that are not to be seen are unknown, and nothing fails', async () => {
    const { status, stdout } = await xlsnap('tree', 'test', '--memory-dir', '/nowhere');
    expect(status).toBe(0);
    expect(stdout.match(/internal +\?/g)).toHaveLength(3);
  });

  test('draws a picture of snapshots and images', async () => {
    const svg = join(files, 'test.svg');
    await look('tree', 'test', '--svg', svg);
    await promisify(execFile)('xmllint', ['--noout', svg]);
    const text = await readFile(svg, 'utf8');
    expect(text).toContain('Disk xvda is written to');
    expect(text.match(/class='mark inside'/g)).toHaveLength(3 + 1);
  });

  test('refuses a picture that cannot be written, and a domain that is not there, in virsh’s words', async () => {
    expect((await xlsnap('tree', 'test', '--svg', '/nowhere/a.svg')).stderr).toBe(
      "error: cannot write file '/nowhere/a.svg': No such file or directory\n",
    );
    expect((await xlsnap('tree', 'nobody')).stderr).toBe("error: failed to get domain 'nobody'\n");
    expect((await xlsnap('tree', 'test', '--svg', 'a', '--json')).stderr).toBe(
      'error: Options --svg and --json are mutually exclusive\n',
    );
  });
});

describe('a domain with layers', () => {
  /** External snapshots as another libvirt's metadata tells of them: o1 froze the base, o2 the first layer. */
  beforeAll(async () => {
    const at = (name: string) => join(files, name);
    await newImage(at('base'));
    for (const [over, under] of [
      ['base.o1', 'base'],
      ['base.o2', 'base.o1'],
    ] as const) {
      await promisify(execFile)('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', at(under), '-F', 'qcow2', at(over)]);
    }
    const then = (name: string, under: string, parent = '') =>
      `<domainsnapshot><name>${name}</name><state>disk-snapshot</state>${parent}<creationTime>100</creationTime><disks>
       <disk name='xvda' snapshot='external' type='file'><driver type='qcow2'/><source file='${at(`base.${name}`)}'/></disk></disks>
       ${definitionOf('layers', SECOND, { xvda: at(under) })}</domainsnapshot>`;
    await writeFile(at('layers.xml'), definitionOf('layers', SECOND, { xvda: at('base.o2') }));
    await writeFile(at('o1.xml'), then('o1', 'base'));
    await writeFile(at('o2.xml'), then('o2', 'base.o1', '<parent><name>o1</name></parent>'));
    await daemon.ok('define', at('layers.xml'));
    await daemon.ok('snapshot-create', 'layers', at('o1.xml'), '--redefine');
    await daemon.ok('snapshot-create', 'layers', at('o2.xml'), '--redefine', '--current');
  });

  test('has them in the tree, with the size of the layer that each has begun', async () => {
    const { snapshots } = JSON.parse(await look('tree', 'layers', '--json'));
    const layer = await stat(join(files, 'base.o1'));
    expect(snapshots).toMatchObject([{ name: 'o1', kind: 'disk-only', bytes: layer.blocks * 512 }]);
  });

  test('has the chain in the picture: frozen, begun, and written now', async () => {
    const svg = join(files, 'layers.svg');
    await look('tree', 'layers', '--svg', svg);
    const marks = [...(await readFile(svg, 'utf8')).matchAll(/<title>((?:o1|o2|now): [\w ]+)</g)].map(
      ([, mark]) => mark,
    );
    expect(marks).toEqual(['o1: frozen', 'o1: begins', 'o2: frozen', 'o2: begins', 'now: writes now']);
  });

  test('has its layers in du, and every image of the chain once', async () => {
    const du = JSON.parse(await look('du', 'layers', '--json'));
    expect(du.snapshots.map(({ disks }: { disks: readonly { kind: string }[] }) => disks[0]?.kind)).toEqual([
      'layer',
      'layer',
    ]);
    expect(du.images.map(({ path }: { path: string }) => path).sort()).toEqual(
      ['base', 'base.o1', 'base.o2'].map((name) => join(files, name)),
    );
  });

  test('is exported with the layers', async () => {
    const { disks } = fromLibxlJson(DOMAIN_SNAPSHOT, await look('export', '--libxl-json', 'layers', 'o2'));
    expect(disks).toMatchObject([
      { external: true, external_format: 'qcow2', path: join(files, 'base.o2'), backing: join(files, 'base.o1') },
    ]);
  });

  test('has its metadata back after export, delete and import', async () => {
    const before = await daemon.ok('snapshot-dumpxml', 'layers', 'o2');
    const json = join(files, 'o2.json');
    await writeFile(json, await look('export', 'layers', 'o2'));
    await daemon.ok('snapshot-delete', 'layers', 'o2', '--metadata');
    await look('import', 'layers', json);
    // The definition is that of today, on the images of then.
    expect(await daemon.ok('snapshot-dumpxml', 'layers', 'o2')).toBe(before);
  });
});

test('external snapshots are exported and imported; a layer that a revert has removed takes nothing, and is not in the picture', async () => {
  const at = (name: string) => join(files, name);
  await newImage(at('root'));
  await writeFile(
    at('reverts.xml'),
    definitionOf('reverts', '11111111-2222-3333-4444-000000000005', { xvda: at('root') }),
  );
  await daemon.ok('define', at('reverts.xml'));
  await daemon.ok('start', 'reverts');
  const external = ['--memspec', `file=${at('e1.mem')},snapshot=external`, '--diskspec', 'xvda,snapshot=external'];
  await daemon.ok('snapshot-create-as', 'reverts', 'e1', ...external);
  const before = await daemon.ok('snapshot-dumpxml', 'reverts', 'e1');
  await writeFile(at('e1.json'), await look('export', 'reverts', 'e1'));
  await daemon.ok('snapshot-delete', 'reverts', 'e1', '--metadata');
  await look('import', 'reverts', at('e1.json'), '--current');
  expect(await daemon.ok('snapshot-dumpxml', 'reverts', 'e1')).toBe(before);
  await daemon.ok('snapshot-create-as', 'reverts', 'd1', '--disk-only');
  await daemon.ok('snapshot-revert', 'reverts', 'e1');
  const { snapshots } = JSON.parse(await look('du', 'reverts', '--json'));
  expect(snapshots).toMatchObject([
    { name: 'e1', memory: { path: at('e1.mem') }, disks: [{ kind: 'layer', path: at('root.e1') }] },
    { name: 'd1', disks: [{ kind: 'layer', path: at('root.d1'), bytes: 0 }] },
  ]);
  await look('tree', 'reverts', '--svg', at('reverts.svg'));
  const svg = await readFile(at('reverts.svg'), 'utf8');
  expect(svg).toContain(`${at('root.e1')}: qcow2`);
  expect(svg).not.toContain('root.d1');
  expect(svg).not.toContain('cannot be read');
});

describe('du', () => {
  test('tells RAM, what disks are alone, and totals; and what cannot be known', async () => {
    const du = JSON.parse(await look('du', 'test', '--json'));
    const blocks = await Promise.all(['s1', 's2', 's3'].map(async (name) => (await stat(memoryOf(name))).blocks));
    expect(du.memoryBytes).toBe(blocks.reduce((sum, each) => sum + each, 0) * 512);
    expect(du.imageBytes).toBe((await stat(join(daemon.home, 'state/test.qcow2'))).blocks * 512);
    expect(du.snapshots[0].disks).toMatchObject([{ kind: 'inside', vmStateBytes: 0, aloneBytes: expect.any(Number) }]);
    const { stdout } = await runProgram(XLSNAP, ['-c', daemon.uri, 'du', 'test', '--memory-dir', '/nowhere']);
    expect(stdout).toContain('the space that deleting one of them frees cannot be known before');
    expect(stdout).toMatch(/s1 +\? +- +\d/);
    expect(stdout).toContain('?: cannot be read');
  });
});

describe('metrics', () => {
  test('are the numbers of each domain, as OpenMetrics, and of its last job as often as they are asked for', async () => {
    const text = await look('metrics');
    const blocks = await Promise.all(['s1', 's2', 's3'].map(async (name) => (await stat(memoryOf(name))).blocks));
    expect(text).toContain('xlsnap_snapshots{domain="test"} 3\n');
    expect(text).toContain(
      `xlsnap_snapshots_bytes{domain="test"} ${blocks.reduce((sum, each) => sum + each, 0) * 512}\n`,
    );
    expect(text).toContain('xlsnap_backing_chain_images{domain="test",disk="xvda"} 1\n');
    expect(text).toContain('xlsnap_backing_chain_images{domain="layers",disk="xvda"} 3\n');
    const job = /^xlsnap_last_job(_stopped)?_seconds\{domain="test",operation="create"\} \d+(\.\d+)?$/gm;
    expect(text.match(job)).toHaveLength(2);
    const times = /xlsnap_(oldest|newest)_snapshot_timestamp_seconds\{domain="test"\} (\d+)/g;
    for (const [, , seconds] of text.matchAll(times)) expect(Date.now() / 1000 - Number(seconds)).toBeLessThan(3600);
    expect(text.endsWith('\n# EOF\n')).toBe(true);
    expect(await look('metrics', 'test')).toContain('xlsnap_last_job_seconds');
  });

  test('of some domains alone, into a file that others may read', async () => {
    const file = join(files, 'xlsnap.prom');
    expect(await look('metrics', '--file', file, 'layers')).toBe('');
    expect(await readFile(file, 'utf8')).toMatch(/xlsnap_snapshots\{domain="layers"\} \d\n(?!.*domain="test")/s);
    expect((await stat(file)).mode & 0o777).toBe(0o644);
    expect((await xlsnap('metrics', 'nobody')).stderr).toBe("error: failed to get domain 'nobody'\n");
  });
});

describe('export and import', () => {
  test('a snapshot whose metadata was deleted has the same document again', async () => {
    const before = await daemon.ok('snapshot-dumpxml', 'test', 's3', '--security-info');
    const json = join(files, 's3.json');
    await writeFile(json, await look('export', '--libxl-json', 'test', 's3'));
    await daemon.ok('snapshot-delete', 'test', 's3', '--metadata');
    await look('import', 'test', json, '--current');
    expect(await daemon.ok('snapshot-dumpxml', 'test', 's3', '--security-info')).toBe(before);
    expect((await daemon.ok('snapshot-current', 'test', '--name')).trim()).toBe('s3');
    await daemon.ok('snapshot-revert', 'test', 's3');
  });

  test('the struct has what a save has returned', async () => {
    const struct = fromLibxlJson(DOMAIN_SNAPSHOT, await look('export', 'test', 's1'));
    const image = join(daemon.home, 'state/test.qcow2');
    expect(struct).toMatchObject({ name: 's1', memory: true, memory_path: memoryOf('s1') });
    expect(struct.memory_bytes).toBe((await stat(memoryOf('s1'))).size);
    expect(struct.disks).toMatchObject([{ name: 's1', path: image, disk: { vdev: 'xvda', pdev_path: image } }]);
  });

  test('--args are the parameters of such a snapshot', async () => {
    const args = JSON.parse(await look('export', 'test', 's1', '--args'));
    expect(args).toMatchObject({ memory: 'True', memory_path: memoryOf('s1'), disks: [{ name: 's1' }] });
  });

  test('refuses what is there already, what is no struct, and RAM of another domain', async () => {
    const json = join(files, 'x.json');
    await writeFile(json, await look('export', 'test', 's1'));
    expect((await xlsnap('import', 'test', json)).stderr).toContain(
      "snapshot 's1' of domain 'test' already exists: to delete its metadata and keep its data: xlsnap snapshot-delete test s1 --metadata",
    );
    const foreign = (await readFile(json, 'utf8')).replace(
      '"name": "s1",\n    "memory"',
      '"name": "mine",\n    "memory"',
    );
    await writeFile(json, foreign);
    expect((await xlsnap('import', 'layers', json)).stderr).toContain(`must use uuid ${SECOND}`);
    await writeFile(json, '{"name": "n", "colour": "red"}');
    expect((await xlsnap('import', 'test', json)).stderr).toContain("there is no field 'libxl_domain_snapshot.colour'");
    expect((await xlsnap('import', 'test', '/nowhere')).stderr).toContain("cannot read file '/nowhere'");
  });
});
