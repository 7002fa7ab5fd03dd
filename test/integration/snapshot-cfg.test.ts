/** xl.snapshot.cfg(5) through the front door: the words of the xl series, before a real xlsnapd with real images. */

import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { definitionOf, newImage } from '../support/hosts/embedded.ts';

/** Each command is a program of its own, and the machine may be busy. */
jest.setTimeout(60_000);

let daemon: Xlsnapd;
const at = (name: string) => join(daemon.home, name);
const cfg = at;

beforeAll(async () => {
  daemon = await Xlsnapd.start();
  const disks = { xvda: await newImage(at('a.qcow2')), xvdb: await newImage(at('b.qcow2')) };
  await writeFile(at('vm.xml'), definitionOf('vm', '11111111-2222-3333-4444-000000000007', disks));
  await daemon.ok('define', at('vm.xml'));
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await rm(daemon.home, { recursive: true, force: true });
});

const run = (...words: readonly string[]): Promise<Output> => runProgram(XLSNAP, ['-c', daemon.uri, ...words]);
async function ok(...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...words);
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}
const refused = async (...words: readonly string[]) => (await run(...words)).stderr.trim();
const time = /<creationTime>\d+/g;
const dump = (name: string) => daemon.ok('snapshot-dumpxml', 'vm', name);
const create = async (text: string, ...more: readonly string[]) => {
  await writeFile(cfg('s.cfg'), text);
  return await ok('snapshot-create', 'vm', cfg('s.cfg'), ...more);
};

test('a guest that is off: all its disks, or those that the file names', async () => {
  expect(await create('name = "off"')).toBe(`Domain snapshot off created from '${cfg('s.cfg')}'`);
  expect(await snapshotsIn(at('a.qcow2'))).toEqual(['off']);
  expect(await snapshotsIn(at('b.qcow2'))).toEqual(['off']);
  await writeFile(cfg('s.cfg'), "name='one'\ndisk=['vdev=xvda,target=null']");
  expect(await refused('snapshot-create', 'vm', cfg('s.cfg'))).toContain('require all disks to be selected');
  await create(`name='over'\ndisks=['${at('a.over')},qcow2,xvda']`);
  expect(await dump('over')).toContain("<disk name='xvdb' snapshot='no'/>");
  await ok('snapshot-delete', '-n', 'over', 'vm');
  const before = await dump('off');
  const text = await ok('snapshot-dumpxml', 'vm', 'off', '--cfg');
  await ok('snapshot-delete', '-n', 'off', 'vm');
  await create(text);
  expect(await snapshotsIn(at('b.qcow2'))).toEqual(['off']);
  expect((await dump('off')).replace(time, '')).toBe(before.replace(time, ''));
  await ok('snapshot-delete', '-n', 'off', 'vm');
});

test('a running guest: memory and disks, and back again, by the words of xl', async () => {
  await daemon.ok('start', 'vm');
  await create('name = "s1"\nmemory = "yes"\ndescription = "first\\nline"\ncreationtime = "1"');
  expect(await snapshotsIn(at('b.qcow2'))).toEqual(['s1']);
  const [own] = JSON.parse(await ok('snapshot-list', '-l', 'vm'));
  expect(own).toMatchObject({
    name: 's1',
    memory: true,
    disks: [{ disk: { vdev: 'xvda' } }, { disk: { vdev: 'xvdb' } }],
  });
  await ok('snapshot-revert', '-n', 's1', '-p', 'vm');
  expect(await daemon.ok('domstate', 'vm')).toBe('paused');
  await daemon.ok('resume', 'vm');
});

test("libxl's parameters, as export prints them, take the same again", async () => {
  const own = ['--memory-dir', join(daemon.home, 'memory')];
  await writeFile(at('own.json'), await ok('export', 'vm', 's1', '--args', ...own));
  const before = await dump('s1');
  await ok('snapshot-delete', 'vm', 's1');
  expect(await ok('snapshot-create', 'vm', at('own.json'))).toBe(`Domain snapshot s1 created from '${at('own.json')}'`);
  const parts = (xml: string) => [/<memory .*/.exec(xml)?.[0], /<disks>.*?<\/disks>/s.exec(xml)?.[0]];
  expect(parts(await dump('s1'))).toEqual(parts(before));
  const disk = { disk: { vdev: 'xvda' }, name: 's3' };
  for (const [args, words] of [
    [{ disks: [disk, { ...disk, name: 's4' }] }, 'a snapshot has one name, not s3 and s4'],
    [{ memory: 'True' }, 'a snapshot with memory needs a memory_path'],
    [{ memory: true }, "'libxl_domain_snapshot_args.memory' has to be True, False, <default>"],
    [{ disks: [disk], live: 'True' }, 'live snapshot creation is supported only during full system snapshots'],
    [
      {
        disks: [
          { ...disk, external: true, external_reuse: true },
          { disk: { vdev: 'xvdb' }, external: true },
        ],
      },
      'external_reuse is for all overlays or for none',
    ],
  ] as const) {
    await writeFile(at('bad.json'), JSON.stringify(args));
    expect(await refused('snapshot-create', 'vm', at('bad.json'))).toContain(words);
  }
});

test('memory in a file, a disk inside its image, an overlay for the other; what --cfg prints takes the same again', async () => {
  await create(`name='s2'; memory='${at('s2.save')}'; disks=[',,xvda', 'vdev=xvdb,target=${at('b.s2')}']`);
  expect((await stat(at('s2.save'))).size).toBeGreaterThan(1000);
  const text = await ok('snapshot-dumpxml', 'vm', 's2', '--cfg');
  expect(text.replace(/creationtime.*\n/, '')).toBe(`name = "s2"
memory = "${at('s2.save')}"
disks = [
    "vdev=xvda",
    "vdev=xvdb,format=qcow2,target=${at('b.s2')}",
]`);
  const before = await dump('s2');
  await ok('snapshot-delete', 'vm', 's2');
  await create(text);
  expect((await dump('s2')).replace(time, '')).toBe(before.replace(time, ''));
});

test('without memory a running guest has a disk-only snapshot, with or without a file', async () => {
  await create('# nothing', '-n', 'd1');
  await ok('snapshot-create', 'vm', '-n', 'd2', '-D');
  for (const name of ['d1', 'd2']) expect(await dump(name)).toContain('<state>disk-snapshot</state>');
});

test('what contradicts itself or is misspelled is refused before anything is taken', async () => {
  const names = await daemon.ok('snapshot-list', 'vm', '--name');
  await writeFile(cfg('s.cfg'), 'name = "s9"\nmemroy = "yes"');
  expect(await refused('snapshot-create', 'vm', cfg('s.cfg'))).toContain(
    `error: ${cfg('s.cfg')}:2: there is no key 'memroy'`,
  );
  await writeFile(cfg('s.cfg'), 'name = "s9"\nmemory = "yes"');
  for (const [options, words] of [
    [['-D'], 'memory state cannot be saved with offline or disk-only snapshot'],
    [['-n', 's8'], "the snapshot has two names: 's8' by --name, and 's9' in its file"],
    [['--redefine'], `need an XML document: ${cfg('s.cfg')} holds`],
  ] as const) {
    expect(await refused('snapshot-create', 'vm', cfg('s.cfg'), ...options)).toContain(words);
  }
  await writeFile(cfg('s.cfg'), "name = 's9'\nmemory = 'yes'\ndisks = [',,xvda', ',,hda']");
  expect(await refused('snapshot-create', 'vm', cfg('s.cfg'))).toBe(
    `error: ${cfg('s.cfg')}: domain 'vm' has no disk 'hda': its disks are xvda, xvdb`,
  );
  await writeFile(cfg('s.xml'), '<domainsnapshot/>');
  expect(await refused('snapshot-create', 'vm', cfg('s.xml'), '-n', 's9')).toContain('its <name>');
  expect(await refused('snapshot-dumpxml', 'vm', 's1', '--cfg', '--xpath', '//name')).toBe(
    'error: Options --cfg and --xpath are mutually exclusive',
  );
  expect(await daemon.ok('snapshot-list', 'vm', '--name')).toBe(names);
});
