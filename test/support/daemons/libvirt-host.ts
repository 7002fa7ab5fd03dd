/** The libvirt host over a real libvirtd, anew for each test that opens one, and a guest `g` for it. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, jest } from '@jest/globals';
import { OfflineImages } from '../../../src/disks/offline-snapshots.ts';
import { openLibvirtHost } from '../../../src/hosts/libvirt/choose-mechanism.ts';
import type { LibvirtHost } from '../../../src/hosts/libvirt/libvirt-host.ts';
import type { Domain, DomainRef } from '../../../src/model/domain.ts';
import type { LifecycleEvent } from '../../../src/model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../../../src/model/libxl.ts';
import { RpcClient } from '../../../src/rpc/client/client.ts';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import { decodePayload } from '../../../src/rpc/wire/frames.ts';
import { lifecycleMessage } from '../../../src/rpc/wire/messages.ts';
import type { Job } from '../../../src/snapshots/ports/jobs.ts';
import { LiveDiskFiles } from '../../../src/store/records/live-disks.ts';
import { newImage } from '../hosts/embedded.ts';
import { virsh } from '../virsh.ts';
import { type Libvirtd, startLibvirtd } from './libvirtd.ts';

export const UUID = '11111111-2222-3333-4444-777777777777';
export const OTHER_UUID = '11111111-2222-3333-4444-888888888888';
const WAIT_MS = 10_000;
/** A machine that does much else at the same time is ten times slower than an idle one. */
const TEST_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

jest.setTimeout(TEST_TIMEOUT_MS);

export let libvirtd: Libvirtd;
let uri: string;
let type: 'test' | 'qemu';
let upstream: RpcClient;
let observer: RpcClient;
export let host: LibvirtHost;
export let image: string;
export let memory: string;
export let logged: string[];
export let gone: string[];
/** What a client behind the hub has seen, and when a domain named `sentinel` was heard of. */
export let seen: { readonly domain: DomainRef; readonly event: LifecycleEvent }[];

export async function open(driver: 'test:///default' | 'qemu:///session'): Promise<void> {
  type = driver === 'test:///default' ? 'test' : 'qemu';
  libvirtd = await startLibvirtd();
  uri = `${driver.replace(':', '+unix:')}?socket=${libvirtd.socket}`;
  const folder = join(libvirtd.directory, 'home');
  upstream = await RpcClient.connect({ path: libvirtd.socket, uri: driver });
  observer = await RpcClient.connect({ path: libvirtd.socket, uri: driver });
  const hub = new LifecycleHub();
  seen = [];
  const client = hub.attach((frame) => {
    const { domain, event, detail } = decodePayload(lifecycleMessage, frame);
    seen.push({ domain, event: { event, detail } });
  });
  client.register(1, undefined);
  observer.onLifecycle((domain, { event, detail }) => {
    const shown = client.translate({ callbackID: 1, domain, event, detail });
    if (shown) seen.push({ domain, event: { event: shown.event, detail: shown.detail } });
  });
  logged = [];
  gone = [];
  host = await openLibvirtHost({
    upstream,
    events: hub,
    images: new OfflineImages(),
    liveDisks: await LiveDiskFiles.open(folder, (text) => logged.push(text)),
    scratchDir: folder,
    log: (text) => logged.push(text),
  });
  host.onGone(({ name }) => gone.push(name));
  image = await newImage(join(folder, 'a.qcow2'));
  memory = join(folder, 's1.save');
}

afterEach(async () => {
  // A guest of qemu would outlive its libvirtd, also after a test that has failed.
  if (type === 'qemu') await virsh(uri, 'destroy', 'g');
  upstream[Symbol.dispose]();
  observer[Symbol.dispose]();
  await libvirtd[Symbol.asyncDispose]();
});

export const xmlOf = (name: string, uuid: string): string =>
  `<domain type='${type}'><name>${name}</name><uuid>${uuid}</uuid><memory>65536</memory><os><type>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda'/></disk></devices></domain>`;

export async function run(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await virsh(uri, ...args);
  if (status !== 0) throw new Error(`virsh ${args.join(' ')}: ${stderr}`);
  return stdout;
}

export async function guest(command: 'define' | 'create', state: 'running' | 'paused' = 'running'): Promise<Domain> {
  const file = join(libvirtd.directory, 'guest.xml');
  await writeFile(file, xmlOf('g', UUID));
  await run(command, file);
  if (command === 'define') await run('start', 'g');
  if (state === 'paused') await run('suspend', 'g');
  return now();
}

export const now = (): Promise<Domain> => host.lookup({ name: 'g', uuid: UUID, id: -1 });

/** Events of one connection come in order: when that of a domain defined now is here, so are all before it. */
export async function settled(): Promise<void> {
  const file = join(libvirtd.directory, 'sentinel.xml');
  await writeFile(file, xmlOf('sentinel', OTHER_UUID));
  await run('define', file);
  const end = performance.now() + WAIT_MS;
  while (!seen.some(({ domain }) => domain.name === 'sentinel')) {
    if (performance.now() > end) throw new Error('no event of the sentinel');
    await delay(POLL_MS);
  }
}

export async function clientSees(work: () => Promise<unknown>): Promise<readonly LifecycleEvent[]> {
  await settled();
  await run('undefine', 'sentinel');
  seen.length = 0;
  await work();
  await settled();
  return seen.filter(({ domain }) => domain.name === 'g').map(({ event }) => event);
}

interface RecordedJob extends Job {
  readonly phases: string[];
}

/** `at` is called when a phase is announced. */
export function job(at: (phase: string, abort: () => void) => void | Promise<void> = () => {}): RecordedJob {
  const abort = new AbortController();
  const phases: string[] = [];
  return {
    signal: abort.signal,
    phases,
    phase: async (name) => {
      phases.push(name);
      await at(name, () => abort.abort());
    },
    plan: async () => {},
    definition: async () => {},
    progress: () => {},
  };
}

export const saved = () => ({ path: memory, name: 's1', disks: disks() });

export const definition = async () => host.definition(await now(), 'live');

/** What a revert asks of the host, in its order. */
export async function revert(paused: boolean): Promise<void> {
  const active = await now();
  const kept = await definition();
  await host.checkRestore(active, saved(), kept);
  await host.destroy(active);
  await new OfflineImages().apply('s1', disks());
  await host.restore(active, memory, { paused, definition: kept });
}

export const disks = (): readonly LibxlDiskSnapshot[] => [
  { disk: { vdev: 'vda', format: 'qcow2', pdev_path: image }, name: 's1' },
];

export const args = (): LibxlDomainSnapshotArgs => ({ memory: true, memory_path: memory, disks: disks() });
