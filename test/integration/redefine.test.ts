/** Metadata goes out and comes back in whole, through the real virsh, on both hosts: what backup tools and snapshot-edit live on. */

import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { contentsOf } from '../support/folder.ts';
import { newImage } from '../support/hosts/embedded.ts';

const UUID = '11111111-2222-3333-4444-777777777777';

/** Everything that a redefinition can say about disks, also what this driver cannot take. */
const EXTERNAL = `<domainsnapshot>
  <name>external</name>
  <description>a &lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;
two lines</description>
  <state>disk-snapshot</state>
  <creationTime>1700000000</creationTime>
  <memory snapshot='no'/>
  <disks>
    <disk name='DISK' snapshot='external' type='file'>
      <snapshotDeleteInProgress/>
      <driver type='qcow2'>
        <metadata_cache>
          <max_size unit='bytes'>65536</max_size>
        </metadata_cache>
      </driver>
      <source file='/vms/a.external'/>
    </disk>
  </disks>
  <revertDisks>
    <disk name='DISK' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/vms/a.1700000001'/>
    </disk>
  </revertDisks>
DEFINITION</domainsnapshot>
`;

describe.each([
  { host: 'libvirtd’s test driver', type: 'test', disk: 'vda', bus: 'virtio' },
  { host: 'the embedded host', type: 'xen', disk: 'xvda', bus: 'xen' },
])('on $host', ({ type, disk, bus }) => {
  let home: string;
  let libvirtd: Libvirtd | undefined;
  let xlsnapd: Xlsnapd;

  const dump = (name: string): Promise<string> => xlsnapd.ok('snapshot-dumpxml', 'd', name, '--security-info');
  const fileOf = (name: string): Promise<string> => readFile(join(home, 'snapshot/d', `${name}.xml`), 'utf8');

  async function redefine(document: string, ...options: readonly string[]): Promise<void> {
    await writeFile(join(home, 'redefined.xml'), document);
    await xlsnapd.ok('snapshot-create', 'd', join(home, 'redefined.xml'), '--redefine', ...options);
  }

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'xlsnapd-'));
    await chmod(home, 0o755);
    if (type === 'test') libvirtd = await startLibvirtd();
    xlsnapd = await Xlsnapd.start({ home, args: libvirtd ? ['--upstream', libvirtd.socket] : [] });
    const image = await newImage(join(home, 'a.qcow2'));
    await writeFile(
      join(home, 'd.xml'),
      `<domain type='${type}'><name>d</name><uuid>${UUID}</uuid><title>t &amp; u</title>
       <metadata><x:y xmlns:x='http://x/'> kept <x:z a='1'/></x:y></metadata>
       <memory>4096</memory><vcpu>1</vcpu><os><type arch='x86_64'>hvm</type></os><devices>
       <disk type='file'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='${disk}' bus='${bus}'/></disk>
       <graphics type='vnc' port='5901' passwd='secret'/></devices></domain>`,
    );
    await xlsnapd.ok('define', join(home, 'd.xml'));
    await xlsnapd.ok('snapshot-create-as', 'd', 'off', 'while <off> & "quiet"');
    await xlsnapd.ok('start', 'd');
    await xlsnapd.ok('snapshot-create-as', 'd', 'run');
    if (type === 'test') {
      await xlsnapd.ok('suspend', 'd');
      await xlsnapd.ok('snapshot-create-as', 'd', 'paused');
      await xlsnapd.ok('resume', 'd');
    }
  });

  afterAll(async () => {
    // Undefined where it has not started.
    await xlsnapd?.[Symbol.asyncDispose]();
    await libvirtd?.[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  test('a dump given back changes nothing, in what is shown and in what is stored', async () => {
    const names = (await xlsnapd.ok('snapshot-list', 'd', '--name')).trim().split('\n');
    expect(names.length).toBeGreaterThan(1);
    const tree = await xlsnapd.ok('snapshot-list', 'd', '--tree');
    for (const name of names) {
      const [shown, stored] = [await dump(name), await fileOf(name)];
      expect(shown).toContain("passwd='secret'");
      await redefine(shown);
      expect([await dump(name), await fileOf(name)]).toEqual([shown, stored]);
    }
    expect(await xlsnapd.ok('snapshot-list', 'd', '--tree')).toBe(tree);
  });

  test('snapshots whose metadata was deleted come back from their dumps, and can be reverted to', async () => {
    const names = (await xlsnapd.ok('snapshot-list', 'd', '--name', '--topological')).trim().split('\n');
    const dumps = new Map<string, string>();
    for (const name of names) dumps.set(name, await dump(name));
    const [tree, current] = [
      await xlsnapd.ok('snapshot-list', 'd', '--tree'),
      await xlsnapd.ok('snapshot-current', 'd', '--name'),
    ];
    await xlsnapd.ok('snapshot-delete', 'd', 'off', '--children', '--metadata');
    expect(await contentsOf(join(home, 'snapshot'))).toEqual([]);

    for (const [name, document] of dumps) await redefine(document, ...(name === current ? ['--current'] : []));
    expect(await xlsnapd.ok('snapshot-list', 'd', '--tree')).toBe(tree);
    expect(await xlsnapd.ok('snapshot-current', 'd', '--name')).toBe(current);
    for (const [name, document] of dumps) expect(await dump(name)).toBe(document);
    await xlsnapd.ok('snapshot-revert', 'd', 'run');
    expect(await xlsnapd.ok('domstate', 'd', '--reason')).toMatch(/^running/);
    await xlsnapd.ok('snapshot-revert', 'd', 'off');
    expect(await xlsnapd.ok('domstate', 'd')).toBe('shut off');
  });

  test('external disks, revertDisks and a deletion under way are kept, and shown as they were given', async () => {
    const definition = /^ {2}<domain [\s\S]*?^ {2}<\/domain>\n/m.exec(await dump('off'))?.[0] ?? '';
    const document = EXTERNAL.replaceAll('DISK', disk).replace('DEFINITION', () => definition);
    await redefine(document);
    expect(await dump('external')).toBe(document.trimEnd());
    expect(await xlsnapd.ok('snapshot-current', 'd', 'external')).toBe('Snapshot external set as current');
    expect(await dump('external')).toBe(document.trimEnd());
    expect(await fileOf('external')).toContain('<active>1</active>');
    expect(await xlsnapd.ok('snapshot-info', 'd', 'external')).toMatch(/State: +disk-snapshot\nLocation: +external/);
    await xlsnapd.ok('snapshot-delete', 'd', 'external', '--metadata');
  });

  test('a parent that would close a cycle is refused and nothing changes', async () => {
    const tree = await xlsnapd.ok('snapshot-list', 'd', '--tree');
    const looped = (await dump('off')).replace('</state>', '</state><parent><name>run</name></parent>');
    await writeFile(join(home, 'redefined.xml'), looped);
    expect(await xlsnapd.refused('snapshot-create', 'd', join(home, 'redefined.xml'), '--redefine')).toBe(
      'invalid argument: parent run would create cycle to off',
    );
    expect(await xlsnapd.ok('snapshot-list', 'd', '--tree')).toBe(tree);
  });
});
