/** virsh saves, restores and managed saves on the embedded host, and what they exclude. */

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { virsh } from '../support/virsh.ts';

let host: Xlsnapd;
let definition: string;
const at = (name: string): string => join(host.home, name);

beforeAll(async () => {
  host = await Xlsnapd.start();
  definition = at('g.xml');
  await writeFile(
    definition,
    `<domain type='xen'><name>g</name><memory unit='MiB'>4</memory><os><type>hvm</type></os><devices>
      <disk type='file'><driver name='qemu' type='qcow2'/><source file='${await newImage(at('g.qcow2'))}'/><target dev='xvda' bus='xen'/></disk>
      <graphics type='vnc' passwd='secret'/>
    </devices></domain>`,
  );
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

const managedSave = async (domain = 'test'): Promise<string | undefined> =>
  /^Managed save: +(\w+)$/m.exec(await host.ok('dominfo', domain))?.[1];

/** What the guest has counted to. */
const counter = async (domain = 'test'): Promise<bigint> =>
  (await readFile(at(`state/${await host.ok('domid', domain)}.ram`))).readBigUInt64LE(0);

test('virsh save ends the guest, and restore brings its memory back; the file can be restored again', async () => {
  const before = await counter();
  expect(await host.ok('save', 'test', at('saved'))).toContain(`Domain 'test' saved to ${at('saved')}`);
  expect(await host.ok('domstate', 'test', '--reason')).toBe('shut off (saved)');
  expect((await readdir(host.home)).filter((name) => name.startsWith('saved'))).toEqual(['saved']);
  expect(await host.ok('restore', at('saved'))).toContain('Domain restored');
  expect(await host.ok('domstate', 'test', '--reason')).toBe('running (restored)');
  expect(await counter()).toBeGreaterThanOrEqual(before);
  expect(await host.refused('restore', at('saved'))).toContain("domain is already active as 'test'");
  await host.ok('destroy', 'test');
  await host.ok('restore', at('saved'), '--paused');
  expect(await host.ok('domstate', 'test')).toBe('paused');
  await host.ok('resume', 'test');
  await rm(at('saved'));
});

test('a save refuses what libvirt’s xen driver does', async () => {
  expect(await host.refused('save', 'test', at('x'), '--paused')).toContain('unsupported flags');
  expect(await host.refused('save', 'test', at('x'), '--xml', definition)).toContain('xml modification unsupported');
  expect(await host.refused('save', 'test', at('state/managed-saves/x'))).toContain("among xlsnapd's own files");
  expect(await host.refused('save', 'test', '/dev/null')).toContain('is not a regular file');
  expect(await host.refused('restore', at('test.qcow2'))).toContain('No such file');
  expect(await host.refused('restore', at('g.qcow2'))).toContain('image magic is incorrect');
  await host.ok('suspend', 'test');
  expect(await host.refused('save', 'test', at('x'))).toContain(
    'has to be running because libxenlight will suspend it',
  );
  await host.ok('resume', 'test');
  expect(await host.ok('domstate', 'test')).toBe('running');
});

test('managedsave: start resumes the guest once; lists, dominfo and events say so', async () => {
  const before = await counter();
  expect(await host.ok('managedsave', 'test')).toContain("Domain 'test' state saved by libvirt");
  expect(await managedSave()).toBe('yes');
  expect(await host.ok('list', '--all', '--managed-save')).toMatch(/ test +saved/);
  expect(await host.ok('list', '--all', '--name', '--with-managed-save')).toBe('test');
  expect(await host.ok('list', '--all', '--name', '--without-managed-save')).toBe('');
  expect(await host.refused('managedsave', 'test')).toContain('domain is not running');
  expect(await host.refused('domrename', 'test', 'other')).toContain(
    "domain with a managed saved state can't be renamed",
  );
  await host.ok('start', 'test');
  expect(await host.ok('domstate', 'test', '--reason')).toBe('running (restored)');
  expect([await managedSave(), (await counter()) >= before]).toEqual(['no', true]);
  expect(await readdir(at('state/managed-saves'))).toEqual([]);
  await host.ok('managedsave', 'test');
  await host.ok('managedsave-remove', 'test');
  expect(await managedSave()).toBe('no');
  await host.ok('start', 'test');
  expect(await host.ok('domstate', 'test', '--reason')).toBe('running (booted)');
});

test('the definition in an image is shown and edited; what the guest would notice is refused', async () => {
  await host.ok('create', definition);
  await host.ok('save', 'g', at('g.save'));
  const secret = await host.ok('save-image-dumpxml', at('g.save'), '--security-info');
  expect(secret).toContain("passwd='secret'");
  expect(await host.ok('save-image-dumpxml', at('g.save'))).not.toContain('secret');
  const edited = at('edited.xml');
  await writeFile(edited, secret.replace('</name>', `</name><title>${'t'.repeat(70_000)}</title>`));
  expect(await host.ok('save-image-define', at('g.save'), edited)).toContain(`State file ${at('g.save')} updated.`);
  expect((await readdir(host.home)).filter((name) => name.startsWith('g.save'))).toEqual(['g.save']);
  await writeFile(edited, secret.replace('</name>', '</name><title>short</title>'));
  await host.ok('save-image-define', at('g.save'), edited);
  expect(await host.ok('save-image-dumpxml', at('g.save'))).toContain('<title>short</title>');
  await writeFile(edited, secret.replace(/<uuid>./, '<uuid>f'));
  expect(await host.refused('save-image-define', at('g.save'), edited)).toContain('does not match source');
  await writeFile(edited, secret.replace(/(<vcpu[^>]*>)1/, '$12'));
  expect(await host.refused('save-image-define', at('g.save'), edited)).toMatch(
    /Target domain .* does not match source/,
  );
  expect(await host.refused('save-image-define', at('g.save'), edited, '--paused')).toContain('unsupported flags');
  expect(await host.refused('save-image-dumpxml', at('g.qcow2'))).toContain('image magic is incorrect');
  const { status } = await virsh(`${host.uri}-ro`, 'save-image-dumpxml', at('g.save'));
  expect(status).toBe(1);
  await host.ok('restore', at('g.save'));
  expect(await host.ok('dumpxml', 'g')).toContain('<title>short</title>');
  await host.ok('destroy', 'g');
});

test('the same of a managed save, and of a snapshot’s memory not: its definition is the snapshot’s', async () => {
  expect(await host.refused('managedsave-dumpxml', 'test')).toContain('domain does not have managed save image');
  await host.ok('managedsave', 'test');
  const xml = await host.ok('managedsave-dumpxml', 'test', '--security-info');
  await writeFile(at('edited.xml'), xml.replace('</name>', '</name><title>new</title>'));
  expect(await host.ok('managedsave-define', 'test', at('edited.xml'))).toContain('Managed save state file of domain');
  const image = at('state/managed-saves/6695eb01-f6a4-8304-79aa-97f2502e193f.save');
  expect(await host.refused('save-image-define', image, at('edited.xml'))).toContain("among xlsnapd's own files");
  expect(await host.ok('save-image-dumpxml', image)).toContain('<title>new</title>');
  await host.ok('start', 'test');
  expect(await host.ok('dumpxml', 'test')).toContain('<title>new</title>');
});

test('a domain with a managed save is undefined only with it; a transient one has none', async () => {
  await host.ok('create', definition);
  expect(await host.refused('managedsave', 'g')).toContain('cannot do managed save for transient domain');
  await host.ok('save', 'g', at('g.save'));
  expect(await host.ok('list', '--all', '--name')).toBe('test');
  await host.ok('restore', at('g.save'));
  expect(await host.ok('dumpxml', 'g', '--security-info')).toContain("passwd='secret'");
  await host.ok('destroy', 'g');
  await host.ok('define', definition);
  await host.ok('start', 'g');
  await host.ok('managedsave', 'g');
  const refused = await host.refused('undefine', 'g');
  expect(refused).toMatch(/Refusing to undefine while domain managed save image exists/);
  await host.ok('undefine', 'g', '--managed-save');
  expect([await host.ok('list', '--all', '--name'), await readdir(at('state/managed-saves'))]).toEqual(['test', []]);
});

test('a managed save and snapshots exclude each other as behind a libvirtd', async () => {
  await host.ok('snapshot-create-as', 'test', 'run');
  await host.ok('managedsave', 'test');
  expect(await host.refused('snapshot-create-as', 'test', 'ext', '--disk-only')).toContain('has a managed save');
  await host.ok('snapshot-revert', 'test', 'run');
  expect([await host.ok('domstate', 'test'), await managedSave()]).toEqual(['running', 'no']);
  await host.ok('snapshot-create-as', 'test', 'o1', '--disk-only', '--no-metadata');
  await host.ok('blockcommit', 'test', 'xvda', '--active');
  expect(await host.refused('managedsave', 'test')).toContain('domain has active block job');
  await host.ok('blockjob', 'test', 'xvda', '--abort');
  await host.ok('managedsave', 'test');
  await host.ok('start', 'test');
  expect(await host.ok('domblklist', 'test')).toContain('test.o1');
  await host.ok('snapshot-delete', 'test', 'run', '--metadata');
});

test('a save that a killed daemon had begun is removed, and a managed save is resumed by the next one', async () => {
  await host.ok('managedsave', 'test');
  await host.stop('SIGKILL');
  await writeFile(at('half.partial'), 'half');
  const [boot, id] = [(await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim(), 7];
  const domain = { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id };
  await writeFile(
    at(`state/saves/${domain.uuid}.json`),
    JSON.stringify({ version: 1, domain, path: at('half'), managed: false, moves: [], boot }),
  );
  host = await Xlsnapd.start({ home: host.home });
  expect(host.log).toContain(`save of domain 'test' to '${at('half')}' was interrupted: the domain has ended`);
  expect((await readdir(host.home)).filter((name) => name.startsWith('half'))).toEqual([]);
  expect(await readdir(at('state/saves'))).toEqual([]);
  expect(await host.ok('domstate', 'test', '--reason')).toBe('running (restored)');
});
