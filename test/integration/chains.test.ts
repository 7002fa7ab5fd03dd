/** Images that others use, through the front door: nobody's merge or revert changes what another disk reads. */

import { execFileSync } from 'node:child_process';
import { chmod, link, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { writeOverlay } from '../support/disks/overlay-headers.ts';
import { hasPattern, newImage, qemuImg, writePattern } from '../support/hosts/embedded.ts';

let home: string;
let daemon: Xlsnapd;
let guests = 0;
let name = '';
const at = (file: string) => join(home, file);

/** Each start of qemu-img by the daemon is a line of this file. */
let starts: Awaited<ReturnType<typeof countedQemuImg>>;

/** A folder for PATH, whose qemu-img writes its arguments to a file before it becomes the real one. */
async function countedQemuImg(home: string) {
  const folder = join(home, 'bin');
  const log = join(home, 'starts');
  const real = execFileSync('which', ['qemu-img'], { encoding: 'utf8' }).trim();
  await mkdir(folder);
  await writeFile(log, '');
  const script = `#!/bin/sh\nprintf '%s\\n' "$1" >> '${log}'\nexec '${real}' "$@"\n`;
  await writeFile(join(folder, 'qemu-img'), script);
  await chmod(join(folder, 'qemu-img'), 0o755);
  return { folder, count: async () => (await readFile(log, 'utf8')).split('\n').length - 1 };
}

/** How often the daemon starts qemu-img while this virsh command runs. */
async function startsDuring(...args: readonly string[]): Promise<number> {
  const before = await starts.count();
  await daemon.ok(...args);
  return (await starts.count()) - before;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
  starts = await countedQemuImg(home);
  daemon = await Xlsnapd.start({ home, env: { PATH: `${starts.folder}${delimiter}${process.env.PATH}` } });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

const diskElement = (image: string, target: string) =>
  `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/>` +
  `<target dev='${target}' bus='xen'/></disk>`;

/** A domain that is off, with this qcow2 image as xvda. */
async function define(domain: string, image: string): Promise<void> {
  const file = at(`${domain}.xml`);
  await writeFile(
    file,
    `<domain type='xen'><name>${domain}</name><memory>4096</memory><vcpu>1</vcpu><os><type>linux</type></os>` +
      `<devices>${diskElement(image, 'xvda')}</devices></domain>`,
  );
  await daemon.ok('define', file);
}

const diskOnly = (snapshot: string, ...more: readonly string[]) =>
  daemon.ok('snapshot-create-as', name, snapshot, '--disk-only', ...more);

/** Domain `g1`, `g2`, … off, on an image with a pattern. */
beforeEach(async () => {
  guests += 1;
  name = `g${guests}`;
  await newImage(at(`${name}.qcow2`));
  await writePattern(at(`${name}.qcow2`), 'qcow2', 1);
  await define(name, at(`${name}.qcow2`));
});

const NAMES: readonly (readonly [string, (path: string) => { backing: string; format?: string }])[] = [
  ['json:', (path) => ({ backing: JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: path } }) })],
  ['a relative name', () => ({ backing: `./${name}.qcow2`, format: 'qcow2' })],
  ['file:', (path) => ({ backing: `file:${path}` })],
];

test.each(NAMES)(
  'case 4: a delete does not merge into the base of another domain, named by %s',
  async (how, header) => {
    const { backing, format } = header(at(`${name}.qcow2`));
    const clone = `${name}-clone`;
    await writeOverlay(at(clone), {
      backing: how === 'json:' ? `json:${backing}` : backing,
      ...(format !== undefined && { format }),
    });
    await define(clone, at(clone));
    await diskOnly('e1');
    await writePattern(at(`${name}.e1`), 'qcow2', 2);
    expect(await daemon.refused('snapshot-delete', name, 'e1')).toContain(
      `image '${at(`${name}.qcow2`)}' of domain '${name}' is also used by domain '${clone}' (disk 'xvda')`,
    );
    expect(await hasPattern(at(clone), 'qcow2', 1)).toBe(true);
    await daemon.ok('undefine', clone);
    await daemon.ok('snapshot-delete', name, 'e1');
    expect(await hasPattern(at(`${name}.qcow2`), 'qcow2', 2)).toBe(true);
  },
);

test.each(NAMES)(
  'case 4: a domain whose own base is named by %s gets snapshots that can be deleted and reverted to',
  async (how, header) => {
    const { backing, format } = header(at(`${name}.qcow2`));
    const own = `${name}-own`;
    await writeOverlay(at(`${own}.qcow2`), {
      backing: how === 'json:' ? `json:${backing}` : backing,
      ...(format !== undefined && { format }),
    });
    await daemon.ok('undefine', name);
    name = own;
    await define(name, at(`${own}.qcow2`));
    await diskOnly('e1');
    await writePattern(at(`${own}.e1`), 'qcow2', 2);
    await daemon.ok('snapshot-revert', name, 'e1');
    await daemon.ok('snapshot-delete', name, 'e1');
    expect(await hasPattern(at(`${own}.qcow2`), 'qcow2', 1)).toBe(true);
    await daemon.ok('snapshot-create-as', name, 'i1');
    await daemon.ok('snapshot-revert', name, 'i1');
    await daemon.ok('snapshot-delete', name, 'i1');
  },
  120_000,
);

test('a delete is refused while the chain of another domain cannot be followed, naming domain, image and reason', async () => {
  execFileSync('mkfifo', [at(`${name}.pipe`)]);
  // Nothing can be below a folder: it keeps nobody from anything.
  await mkdir(at(`${name}.folder`));
  await define(`${name}-folder`, at(`${name}.folder`));
  const other = `${name}-pipe`;
  await writeOverlay(at(other), { backing: at(`${name}.pipe`), format: 'raw' });
  await define(other, at(other));
  await diskOnly('e1');
  const refusal = await daemon.refused('snapshot-delete', name, 'e1');
  expect(refusal).toContain(`domain '${other}' (disk 'xvda') may use the same images`);
  expect(refusal).toContain(`'${at(`${name}.pipe`)}' is neither a regular file nor a block device`);
  await daemon.ok('undefine', other);
  await daemon.ok('snapshot-delete', name, 'e1');
});

test('a copy of a domain, with its snapshots and on its image, does not take them from it', async () => {
  await daemon.ok('snapshot-create-as', name, 's1');
  const copy = `${name}-copy`;
  await define(copy, at(`${name}.qcow2`));
  const [uuid, ofCopy] = [await daemon.ok('domuuid', name), await daemon.ok('domuuid', copy)];
  const document = (await daemon.ok('snapshot-dumpxml', name, 's1')).replace(uuid.trim(), ofCopy.trim());
  await writeFile(at(`${copy}.snapshot`), document);
  await daemon.ok('snapshot-create', copy, at(`${copy}.snapshot`), '--redefine');
  for (const [each, other] of [
    [name, copy],
    [copy, name],
  ] as const) {
    expect(await daemon.refused('snapshot-delete', each, 's1')).toContain(
      `is also that of snapshot 's1' of domain '${other}', which would lose its data; ` +
        `to forget this one and keep the data: virsh snapshot-delete ${each} s1 --metadata`,
    );
  }
  await daemon.ok('snapshot-delete', copy, 's1', '--metadata');
  await daemon.ok('snapshot-revert', name, 's1');
  await daemon.ok('snapshot-delete', name, 's1');
});

test('case 4: a revert to an internal snapshot does not change the image that another domain is based on', async () => {
  await daemon.ok('snapshot-create-as', name, 's1');
  await writePattern(at(`${name}.qcow2`), 'qcow2', 2);
  const other = `${name}-clone`;
  const backing = { driver: 'qcow2', file: { driver: 'file', filename: at(`${name}.qcow2`) } };
  await writeOverlay(at(`${other}.qcow2`), { backing: `json:${JSON.stringify(backing)}` });
  await define(other, at(`${other}.qcow2`));
  expect(await daemon.refused('snapshot-revert', name, 's1')).toContain(
    `would change image '${at(`${name}.qcow2`)}', which domain '${other}' (disk 'xvda') is based on`,
  );
  expect(await hasPattern(at(`${other}.qcow2`), 'qcow2', 2)).toBe(true);
  await daemon.ok('undefine', other);
  await daemon.ok('snapshot-revert', name, 's1');
  expect(await hasPattern(at(`${name}.qcow2`), 'qcow2', 1)).toBe(true);
});

test('case 5: a delete does not merge into the base of another disk of the same domain', async () => {
  await diskOnly('e1');
  await writePattern(at(`${name}.e1`), 'qcow2', 2);
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', at(`${name}.qcow2`), '-F', 'qcow2', at(`${name}.look`));
  const xml = await daemon.ok('dumpxml', name);
  const file = at(`${name}.xml`);
  await writeFile(file, xml.replace('</devices>', `${diskElement(at(`${name}.look`), 'xvdb')}</devices>`));
  await daemon.ok('define', file);
  expect(await daemon.refused('snapshot-delete', name, 'e1')).toContain(
    `is also used by domain '${name}' (disk 'xvdb')`,
  );
  expect(await hasPattern(at(`${name}.look`), 'qcow2', 1)).toBe(true);
});

test('two disks on one image, or with one overlay, by whatever names, have no snapshot', async () => {
  const [image, second] = [at(`${name}.qcow2`), at(`${name}.second`)];
  const xml = await daemon.ok('dumpxml', name);
  const withSecond = async (path: string) => {
    await writeFile(at(`${name}.xml`), xml.replace('</devices>', `${diskElement(path, 'xvdb')}</devices>`));
    await daemon.ok('define', at(`${name}.xml`));
  };
  await link(image, second);
  for (const path of [image, second]) {
    await withSecond(path);
    expect(await daemon.refused('snapshot-create-as', name, 's1')).toContain(
      `'${path}' of disk 'xvdb' is an image of disk 'xvda' as well: each needs one of its own`,
    );
  }
  expect(await snapshotsIn(image)).toEqual([]);
  await rm(second);
  await qemuImg('create', '-q', '-f', 'qcow2', second, '8M');
  await withSecond(second);
  await writeOverlay(at(`${name}.given`), { backing: image, format: 'qcow2' });
  await link(at(`${name}.given`), at(`${name}.again`));
  const files = [`xvda,file=${at(`${name}.given`)}`, `xvdb,file=${at(`${name}.again`)}`];
  const specs = files.flatMap((spec) => ['--diskspec', spec]);
  expect(await daemon.refused('snapshot-create-as', name, 's1', '--disk-only', '--reuse-external', ...specs)).toContain(
    `'${at(`${name}.again`)}' of disk 'xvdb' is an image of disk 'xvda' as well`,
  );
});

test.each(NAMES)(
  'a running domain is merged into its base, which the header of its overlay names by %s',
  async (how, header) => {
    const { backing, format } = header(at(`${name}.qcow2`));
    await writeOverlay(at(`${name}.given`), {
      backing: how === 'json:' ? `json:${backing}` : backing,
      ...(format !== undefined && { format }),
    });
    await diskOnly('e1', '--reuse-external', '--diskspec', `xvda,file=${at(`${name}.given`)}`);
    await writePattern(at(`${name}.given`), 'qcow2', 2);
    await daemon.ok('start', name);
    await diskOnly('e2');
    await daemon.ok('snapshot-delete', name, 'e1');
    await daemon.ok('snapshot-delete', name, 'e2');
    expect(await daemon.ok('domstate', name)).toBe('running');
    expect(await daemon.ok('domblklist', name)).toContain(at(`${name}.qcow2`));
    await daemon.ok('destroy', name);
    expect(await hasPattern(at(`${name}.qcow2`), 'qcow2', 2)).toBe(true);
  },
);

test('case 14: --reuse-external compares files, and leaves a relative name in the header', async () => {
  await writeOverlay(at(`${name}.given`), { backing: `./${name}.qcow2`, format: 'qcow2' });
  await diskOnly('e1', '--reuse-external', '--diskspec', `xvda,file=${at(`${name}.given`)}`);
  const info = JSON.parse(await qemuImg('info', '--output=json', at(`${name}.given`)));
  expect(info['backing-filename']).toBe(`./${name}.qcow2`);
  await writePattern(at(`${name}.given`), 'qcow2', 2);
  await daemon.ok('snapshot-delete', name, 'e1');
  expect(await hasPattern(at(`${name}.qcow2`), 'qcow2', 2)).toBe(true);
});

/** A domain that is off, with disk-only snapshots s1, s2, … one above the other; made from documents, which is faster. */
async function defineOnChain(length: number): Promise<string> {
  const domain = `${name}-${length}`;
  const layer = (index: number) => at(index === 0 ? `${domain}.qcow2` : `${domain}.s${index}`);
  await newImage(layer(0));
  await define(domain, layer(0));
  const xml = await daemon.ok('dumpxml', '--inactive', domain);
  const onLayer = (index: number) => xml.replace(`'${layer(0)}'`, `'${layer(index)}'`);
  const commands: string[] = [];
  for (let index = 1; index <= length; index += 1) {
    await writeOverlay(layer(index), { backing: layer(index - 1), format: 'qcow2' });
    const parent = index > 1 ? `<parent><name>s${index - 1}</name></parent>` : '';
    await writeFile(
      at(`s${index}.xml`),
      `<domainsnapshot><name>s${index}</name><state>disk-snapshot</state>${parent}<creationTime>${index}</creationTime>` +
        `<disks><disk name='xvda' snapshot='external' type='file'><driver type='qcow2'/><source file='${layer(index)}'/>` +
        `</disk></disks>${onLayer(index - 1)}</domainsnapshot>`,
    );
    commands.push(`snapshot-create ${domain} ${at(`s${index}.xml`)} --redefine${index === length ? ' --current' : ''}`);
  }
  await daemon.ok(commands.join('; '));
  await writeFile(at(`${domain}.xml`), onLayer(length));
  await daemon.ok('define', at(`${domain}.xml`));
  return domain;
}

test('case 18: what a revert to the middle of a chain and the deletes after it start does not depend on its length', async () => {
  const started = new Map<number, readonly number[]>();
  for (const length of [12, 120]) {
    const domain = await defineOnChain(length);
    started.set(length, [
      await startsDuring('snapshot-revert', domain, `s${length / 2}`),
      await startsDuring('snapshot-delete', domain, `s${length}`),
      await startsDuring('snapshot-delete', domain, `s${length - 2}`),
      await startsDuring('snapshot-delete', domain, 's2'),
    ]);
  }
  expect(started.get(120)).toEqual(started.get(12));
  expect(Math.max(...(started.get(120) ?? []))).toBeLessThan(20);
});
