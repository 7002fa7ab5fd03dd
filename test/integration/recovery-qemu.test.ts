/**
 * What recovery does where libvirtd is still saving a domain for a daemon that is gone: a real guest of libvirtd's qemu
 * driver. The daemon's remains are its record in the journal and the virDomainSave that it has asked for.
 */

import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { OfflineImages } from '../../src/disks/offline-snapshots.ts';
import { openLibvirtHost } from '../../src/hosts/libvirt/choose-mechanism.ts';
import { RpcClient } from '../../src/rpc/client/client.ts';
import { LifecycleHub } from '../../src/rpc/server/lifecycle-hub.ts';
import { Jobs } from '../../src/snapshots/jobs.ts';
import { SnapshotService } from '../../src/snapshots/service.ts';
import { MemoryFiles } from '../../src/store/memory-folder.ts';
import { FileJournal } from '../../src/store/records/journal.ts';
import { LiveDiskFiles } from '../../src/store/records/live-disks.ts';
import { ProtectedFiles } from '../../src/store/records/protected-names.ts';
import { SnapshotFiles } from '../../src/store/snapshot-files.ts';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { contentsOf } from '../support/folder.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { until } from '../support/until.ts';
import { virsh } from '../support/virsh.ts';

jest.setTimeout(120_000);

const REF = { name: 'g', uuid: '11111111-2222-3333-4444-777777777777', id: -1 };

/** What libvirtd pipes a memory image through: it says that a save is under way, and ends when it is told to. */
const GZIP = `#!/bin/sh
folder=$(dirname "$0")
if [ "$1" = -c ]; then
  : > "$folder/saving"
  while [ ! -e "$folder/go" ]; do sleep 0.05; done
fi
exec /bin/gzip "$@"
`;

/** Whose libvirtd runs; as root it is not. */
const WRITER = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : undefined;

let libvirtd: Libvirtd;
let clients: RpcClient[];
let service: SnapshotService;
let logged: string[];
let journal: FileJournal;
let memory: MemoryFiles;

const at = (...path: readonly string[]) => join(libvirtd.directory, 'home', ...path);
const image = () => at('a.qcow2');
const list = (folder: string) => contentsOf(at(folder));
const names = async () => (await service.listAll(REF, 0)).map(({ name }) => name);
const run = (...words: readonly string[]) => virsh(`qemu+unix:///session?socket=${libvirtd.socket}`, ...words);
const saveMayEnd = () => writeFile(join(libvirtd.directory, 'bin/go'), '');
const said = (text: string) => until(() => logged.some((line) => line.includes(text)));

async function ok(...words: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...words);
  if (status !== 0) throw new Error(`virsh ${words.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** As xlsnapd puts it together. */
async function openService(): Promise<void> {
  logged = [];
  const log = (text: string): void => void logged.push(text);
  const upstream = await RpcClient.connect({ path: libvirtd.socket, uri: 'qemu:///session' });
  clients.push(upstream);
  const events = new LifecycleHub();
  const images = new OfflineImages();
  const liveDisks = await LiveDiskFiles.open(at('state'), log);
  const host = await openLibvirtHost({ upstream, events, images, liveDisks, scratchDir: at('memory'), log });
  const store = new SnapshotFiles(at('snapshot'), log);
  const ownFiles: readonly string[] = [];
  const jobs = new Jobs(journal);
  const protectedNames = await ProtectedFiles.open(at('state'), log);
  const files = { store, memory, protectedNames, ownFiles, journal };
  service = await SnapshotService.open({ host, images, ...files, events, jobs, log });
}

beforeEach(async () => {
  clients = [];
  libvirtd = await startLibvirtd({ config: { 'qemu.conf': 'save_image_format = "gzip"\n' }, programs: { gzip: GZIP } });
  journal = new FileJournal(at('state'), (text) => logged.push(text), 'libvirt');
  memory = new MemoryFiles(at('memory'), WRITER);
  await memory.open();
  await chmod(await newImage(image()), 0o666);
  await writeFile(
    at('g.xml'),
    `<domain type='qemu'><name>g</name><uuid>${REF.uuid}</uuid><memory unit='MiB'>16</memory>
    <os><type arch='x86_64'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image()}'/><target dev='vda' bus='virtio'/></disk>
    <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`,
  );
});

afterEach(async () => {
  await saveMayEnd();
  await service[Symbol.asyncDispose]();
  for (const client of clients) client[Symbol.dispose]();
  // A guest of qemu would outlive its libvirtd.
  await run('destroy', 'g');
  await libvirtd[Symbol.asyncDispose]();
});

/** A create by a daemon that has died in the middle of the save; the next one is there. */
async function dieInSave(state: 'running' | 'paused', command: 'define' | 'create'): Promise<void> {
  await ok(command, at('g.xml'));
  if (command === 'define') await ok('start', 'g');
  if (state === 'paused') await ok('suspend', 'g');
  await memory.prepare(REF, 's1');
  const memory_path = memory.path(REF, 's1');
  const disks = [{ disk: { vdev: 'vda', format: 'qcow2' as const, pdev_path: image() }, name: 's1' }];
  const entry = await journal.begin(REF, { operation: 'create', snapshot: 's1', flags: 0 });
  await entry.plan({ memory: true, memory_path, disks });
  await entry.phase('saving');
  void run('save', 'g', memory_path);
  await until(async () => (await readdir(join(libvirtd.directory, 'bin'))).includes('saving'));
  await openService();
  await said(
    "create of snapshot 's1' of domain 'g' was interrupted in phase 'saving': it will be recovered when libvirtd",
  );
  expect(await list(`memory/${REF.uuid}`)).toEqual(['s1.save']);
}

async function expectTakenBack(): Promise<void> {
  await until(async () => (await list('state/journal')).length === 0);
  expect(await list(`memory/${REF.uuid}`)).toEqual([]);
  expect(await snapshotsIn(image())).toEqual([]);
  expect(await names()).toEqual([]);
}

test.each([
  ['running', 'define', 'running (restored)'],
  ['paused', 'define', 'paused'],
  ['running', 'create', 'running (restored)'],
] as const)(
  'a domain that is %s (virsh %s) comes back when the save has ended, and the create is taken back',
  async (state, command, now) => {
    await dieInSave(state, command);
    expect(await names()).toEqual([]);
    await saveMayEnd();
    await said(`it was undone; the domain is ${state}`);
    await expectTakenBack();
    expect(await ok('domstate', 'g', '--reason')).toContain(now);
  },
);

test('the next operation on the domain waits for that, and works', async () => {
  await dieInSave('running', 'define');
  const next = service.createXML(REF, '<domainsnapshot><name>next</name></domainsnapshot>', 0);
  await saveMayEnd();
  await next;
  expect(logged.at(-1)).toContain('it was undone; the domain is running');
  expect(await names()).toEqual(['next']);
  await service.revert({ domain: REF, name: 'next' }, 0);
  await service.delete({ domain: REF, name: 'next' }, 0);
  await expectTakenBack();
});

test('a domain whose save fails at last has never been away', async () => {
  await dieInSave('running', 'define');
  await ok('domjobabort', 'g');
  await saveMayEnd();
  await said('it was undone; the domain is running');
  await expectTakenBack();
  expect(await ok('domstate', 'g', '--reason')).toMatch(/^running/);
});

test('a daemon that is stopped while it waits leaves the rest to the next one', async () => {
  await dieInSave('running', 'define');
  await service[Symbol.asyncDispose]();
  expect(logged.at(-1)).toContain('could not be recovered: operation aborted: xlsnapd is stopping');
  expect(await list('state/journal')).toEqual([`${REF.uuid}.json`]);
  expect(await list(`memory/${REF.uuid}`)).toEqual(['s1.save']);
  await saveMayEnd();
  await openService();
  await said('it was undone; the domain is running');
  await expectTakenBack();
});
