/** The upstream libvirtd goes and comes again: its clients see what libvirtd's would, and their snapshots stay. */

import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { until } from '../support/until.ts';
import { type Ran, virsh } from '../support/virsh.ts';

let home: string;
let libvirtd: Libvirtd;
let daemon: Xlsnapd;

/** Where xlsnapd looks for libvirtd: the same path for each of them. */
const upstream = () => join(home, 'upstream');

/** A new libvirtd knows nothing of the one before, as the test driver keeps nothing; the domain has the same UUID. */
async function startUpstream(): Promise<void> {
  libvirtd = await startLibvirtd();
  await rm(upstream(), { force: true });
  await symlink(libvirtd.socket, upstream());
  const xml = join(home, 'one.xml');
  await writeFile(
    xml,
    `<domain type='test'><name>one</name><uuid>11111111-2222-3333-4444-555555555555</uuid><memory>4096</memory>
     <os><type>hvm</type></os></domain>`,
  );
  const direct = `test+unix:///default?socket=${libvirtd.socket}`;
  for (const words of [
    ['define', xml],
    ['start', 'one'],
  ])
    expect((await virsh(direct, ...words)).stderr).toBe('');
}

/** What virsh's registration takes after its connection, with time to spare: nobody tells when it is there. */
const REGISTERED_MS = 500;

/** A client that hears events when this resolves. */
async function listening(): Promise<{ readonly heard: Promise<Ran> }> {
  const connections = () => daemon.log.split('client connected').length;
  const before = connections();
  const heard = virsh(daemon.uri, 'event', 'one', '--event', 'lifecycle', '--loop', '--timeout', '10');
  await until(() => connections() > before);
  await delay(REGISTERED_MS);
  return { heard };
}

beforeAll(async () => {
  home = await folderForLibvirtd();
  await startUpstream();
  daemon = await Xlsnapd.start({ home, args: ['--upstream', upstream()] });
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

test('clients are disconnected, the next ones are told why, and all goes on when it is back', async () => {
  await daemon.ok('snapshot-create-as', 'one', 'kept');
  const waiting = await listening();
  await libvirtd[Symbol.asyncDispose]();
  expect((await waiting.heard).stderr).toMatch(/Disconnected from .* due to end of file/);
  expect(await daemon.refused('snapshot-list', 'one')).toContain(`Failed to connect socket to '${upstream()}'`);
  await daemon.logged(`Failed to connect socket to '${upstream()}'`);

  await startUpstream();
  expect(await daemon.ok('snapshot-list', 'one', '--name')).toBe('kept');
  expect(await daemon.ok('snapshot-create-as', 'one', 'after')).toBe('Domain snapshot after created');
  const { heard } = await listening();
  expect(await daemon.ok('snapshot-revert', 'one', 'kept')).toBe('Domain snapshot kept reverted');
  expect((await heard).stdout).toMatch(/Stopped Snapshot[\s\S]*Started Snapshot/);
  expect(await daemon.ok('snapshot-current', 'one', '--name')).toBe('kept');
}, 60_000);

test('a client that comes at once after the upstream is back is served like any other', async () => {
  await libvirtd[Symbol.asyncDispose]();
  await startUpstream();
  const all = await Promise.all(Array.from({ length: 5 }, () => daemon.ok('snapshot-list', 'one', '--name')));
  expect(new Set(all)).toEqual(new Set(['after\nkept']));
}, 30_000);
