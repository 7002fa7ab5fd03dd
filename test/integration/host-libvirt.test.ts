/** The libvirt host over a real libvirtd, with its test driver and with QEMU: snapshots of active domains through libvirt. */

import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { OfflineImages } from '../../src/disks/offline.ts';
import { LibvirtError } from '../../src/errors.ts';
import type { LibvirtHost } from '../../src/hosts/libvirt.ts';
import { openLibvirtHost } from '../../src/hosts/open-libvirt.ts';
import type { Domain, DomainRef } from '../../src/model/domain.ts';
import { textAt } from '../../src/model/element.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../src/model/events.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../../src/model/libxl.ts';
import { RpcClient } from '../../src/rpc/client.ts';
import { LifecycleHub } from '../../src/rpc/events.ts';
import { decodePayload } from '../../src/rpc/frames.ts';
import { lifecycleMessage } from '../../src/rpc/messages.ts';
import type { Job } from '../../src/snapshots/ports.ts';
import { LiveDiskFiles } from '../../src/store/live-disks.ts';
import { parseDomain, renamed } from '../../src/xml/domain.ts';
import { snapshotsIn } from '../support/images.ts';
import { type Libvirtd, startLibvirtd } from '../support/libvirtd.ts';
import { refusal } from '../support/refusal.ts';
import { until } from '../support/until.ts';
import { virsh } from '../support/virsh.ts';
import { newImage } from '../unit/hosts/embedded.ts';

const UUID = '11111111-2222-3333-4444-777777777777';
const OTHER_UUID = '11111111-2222-3333-4444-888888888888';
const WAIT_MS = 10_000;
/** A machine that does much else at the same time is ten times slower than an idle one. */
const TEST_TIMEOUT_MS = 60_000;
const POLL_MS = 20;

const { STOPPED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, RESUMED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT } = LIFECYCLE;

jest.setTimeout(TEST_TIMEOUT_MS);

let libvirtd: Libvirtd;
let uri: string;
let type: 'test' | 'qemu';
let upstream: RpcClient;
let observer: RpcClient;
let host: LibvirtHost;
let image: string;
let memory: string;
let logged: string[];
let gone: string[];
/** What a client behind the hub has seen, and when a domain named `sentinel` was heard of. */
let seen: { readonly domain: DomainRef; readonly event: LifecycleEvent }[];

async function open(driver: 'test:///default' | 'qemu:///session'): Promise<void> {
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

const xmlOf = (name: string, uuid: string): string =>
  `<domain type='${type}'><name>${name}</name><uuid>${uuid}</uuid><memory>65536</memory><os><type>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda'/></disk></devices></domain>`;

async function run(...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await virsh(uri, ...args);
  if (status !== 0) throw new Error(`virsh ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function guest(command: 'define' | 'create', state: 'running' | 'paused' = 'running'): Promise<Domain> {
  const file = join(libvirtd.directory, 'guest.xml');
  await writeFile(file, xmlOf('g', UUID));
  await run(command, file);
  if (command === 'define') await run('start', 'g');
  if (state === 'paused') await run('suspend', 'g');
  return now();
}

const now = (): Promise<Domain> => host.lookup({ name: 'g', uuid: UUID, id: -1 });

/** Events of one connection come in order: when that of a domain defined now is here, so are all before it. */
async function settled(): Promise<void> {
  const file = join(libvirtd.directory, 'sentinel.xml');
  await writeFile(file, xmlOf('sentinel', OTHER_UUID));
  await run('define', file);
  const end = performance.now() + WAIT_MS;
  while (!seen.some(({ domain }) => domain.name === 'sentinel')) {
    if (performance.now() > end) throw new Error('no event of the sentinel');
    await delay(POLL_MS);
  }
}

async function clientSees(work: () => Promise<unknown>): Promise<readonly LifecycleEvent[]> {
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
function job(at: (phase: string, abort: () => void) => void | Promise<void> = () => {}): RecordedJob {
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
    progress: () => {},
  };
}

const saved = () => ({ path: memory, name: 's1', disks: disks() });

const definition = async () => host.definition(await now(), 'live');

/** What a revert asks of the host, in its order. */
async function revert(paused: boolean): Promise<void> {
  const active = await now();
  const kept = await definition();
  await host.checkRestore(active, saved(), kept);
  await host.destroy(active);
  await new OfflineImages().apply('s1', disks());
  await host.restore(active, memory, { paused, definition: kept });
}

const disks = (): readonly LibxlDiskSnapshot[] => [
  { disk: { vdev: 'vda', format: 'qcow2', pdev_path: image }, name: 's1' },
];

const args = (): LibxlDomainSnapshotArgs => ({ memory: true, memory_path: memory, disks: disks() });

describe('over the test driver', () => {
  beforeEach(() => open('test:///default'));

  test('says once that snapshots go through libvirt, and why', () => {
    expect(logged).toEqual([
      'the upstream driver is TEST, not Xen: snapshots of active domains go through virDomainSave and virDomainRestore',
    ]);
  });

  test('domains are listed and looked up with state and persistence', async () => {
    const transient = await guest('create', 'paused');
    expect(transient).toEqual({
      ref: { name: 'g', uuid: UUID, id: expect.any(Number) },
      state: 'paused',
      persistent: false,
    });
    const all = await host.list();
    expect(all.map(({ ref, state, persistent }) => [ref.name, state, persistent]).sort()).toEqual([
      ['g', 'paused', false],
      ['test', 'running', true],
    ]);
    expect((await refusal(host.lookup({ name: 'g', uuid: OTHER_UUID, id: 1 }))).code).toBe('NO_DOMAIN');
  });

  test('definitions are in inactive format: live as it runs, persistent as it will start', async () => {
    const domain = await guest('define');
    const file = join(libvirtd.directory, 'guest.xml');
    await writeFile(file, xmlOf('g', UUID).replace('<memory>65536', '<memory>131072'));
    await run('define', file);
    const live = await host.definition(domain, 'live');
    const persistent = await host.definition(domain, 'persistent');
    expect(live.attributes).toEqual({ type: 'test' });
    expect(persistent.attributes).toEqual({ type: 'test' });
    expect(textAt(live, 'memory')).toBe('65536');
    expect(textAt(persistent, 'memory')).toBe('131072');
    await run('destroy', 'g');
    expect(textAt(await host.definition(await now(), 'live'), 'memory')).toBe('131072');
  });

  test.each(['running', 'paused'] as const)('a %s domain is saved with its disk and goes on, unseen', async (state) => {
    const domain = await guest('define', state);
    const recorded = job();
    await host.checkSave(domain, args());
    let result: unknown;
    const events = await clientSees(async () => {
      result = await host.save(domain, 's1', args(), recorded);
    });
    expect(events).toEqual([]);
    expect(result).toEqual({
      name: 's1',
      memory: true,
      memory_path: memory,
      memory_bytes: (await readFile(memory)).length,
      creation_time: expect.any(Number),
      disks: disks(),
    });
    expect(recorded.phases).toEqual(['saving', 'saved', 'restoring']);
    expect(await snapshotsIn(image)).toEqual(['s1']);
    const after = await now();
    expect(after.state).toBe(state);
    expect(after.ref.id).toBeGreaterThan(domain.ref.id);
  });

  test.each([
    ['running', false, RESUMED_FROM_SNAPSHOT],
    ['paused', true, SUSPENDED_FROM_SNAPSHOT],
  ])('a revert to %s is told as libvirt tells one', async (state, paused, last) => {
    const domain = await guest('define');
    await host.save(domain, 's1', args(), job());
    const events = await clientSees(() => revert(paused));
    expect(events).toEqual([STOPPED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, last]);
    expect((await now()).state).toBe(state);
    expect(existsSync(memory)).toBe(true);
  });

  test.each([
    ['running', false, [LIFECYCLE.RESUMED_UNPAUSED, STARTED_FROM_SNAPSHOT]],
    ['paused', true, [STARTED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT]],
  ])('a start into %s is told as from a snapshot', async (state, paused, expected) => {
    await guest('define');
    await run('destroy', 'g');
    const off = await now();
    const kept = await definition();
    expect(await clientSees(() => host.start(off, { paused, definition: kept }))).toEqual(expected);
    expect((await now()).state).toBe(state);
  });

  test('a definition is unheard of, new or not, and is the persistent one then', async () => {
    const definition = parseDomain(xmlOf('g', UUID));
    expect(await clientSees(() => host.define(definition))).toEqual([]);
    expect(await clientSees(() => host.define(definition))).toEqual([]);
    expect((await now()).persistent).toBe(true);
    expect((await refusal(host.define(renamed(definition, 'h')))).message).toContain(`domain 'g' is already defined`);
  });

  test('events of others pass while we work', async () => {
    const domain = await guest('define');
    const recorded = job(async (phase) => {
      if (phase === 'saved') await run('suspend', 'test');
    });
    await clientSees(() => host.save(domain, 's1', args(), recorded));
    expect(seen.filter(({ domain: { name } }) => name === 'test').map(({ event }) => event)).toEqual([
      LIFECYCLE.SUSPENDED_PAUSED,
    ]);
  });

  test('internal snapshots of a running domain are deleted while it is away for a moment, unseen', async () => {
    const domain = await guest('define');
    await host.save(domain, 's1', args(), job());
    expect(await clientSees(() => host.deleteDiskSnapshots(domain, 's1', disks()))).toEqual([]);
    expect(await snapshotsIn(image)).toEqual([]);
    expect((await now()).state).toBe('running');
    expect(existsSync(join(libvirtd.directory, 'home', `${UUID}.save`))).toBe(false);
    const { id } = (await now()).ref;
    await host.deleteDiskSnapshots(domain, 's1', []);
    expect((await now()).ref.id).toBe(id);
  });

  describe('a save that fails', () => {
    test('for its disk leaves domain and folder as they were', async () => {
      const domain = await guest('define');
      await new OfflineImages().create('s1', disks(), new Set());
      const error = await refusal(host.save(domain, 's1', args(), job()));
      expect(error.message).toBe(
        `operation failed: disk 'vda' already has an internal snapshot 's1' in '${image}': choose another name`,
      );
      expect((await now()).state).toBe('running');
      expect(existsSync(memory)).toBe(false);
      expect(await snapshotsIn(image)).toEqual(['s1']);
    });

    test('for its memory leaves everything untouched', async () => {
      const domain = await guest('define');
      memory = join(libvirtd.directory, 'nowhere', 's1.save');
      const error = await refusal(host.save(domain, 's1', args(), job()));
      expect(error.fields.code).toBe(38);
      expect(error.message).toContain(memory);
      expect(await now()).toEqual(domain);
      expect(await snapshotsIn(image)).toEqual([]);
    });

    test('because it was cancelled before it began leaves everything untouched', async () => {
      const domain = await guest('define');
      const cancelled = job((_phase, abort) => abort());
      expect((await refusal(host.save(domain, 's1', args(), cancelled))).code).toBe('OPERATION_ABORTED');
      expect(cancelled.phases).toEqual(['saving']);
      expect(await now()).toEqual(domain);
    });

    test('because it was cancelled later brings the domain back', async () => {
      const domain = await guest('define', 'paused');
      const cancelled = job((phase, abort) => {
        if (phase === 'saved') abort();
      });
      expect((await refusal(host.save(domain, 's1', args(), cancelled))).code).toBe('OPERATION_ABORTED');
      expect((await now()).state).toBe('paused');
      expect(existsSync(memory)).toBe(false);
      expect(await snapshotsIn(image)).toEqual([]);
    });

    test.each(['saved', 'restoring'])(
      'because the journal fails in phase %s brings the domain back',
      async (failing) => {
        const domain = await guest('define');
        const full = job((phase) => {
          if (phase === failing) throw new LibvirtError('SYSTEM_ERROR', 'No space left on device');
        });
        expect((await refusal(host.save(domain, 's1', args(), full))).message).toBe('No space left on device');
        expect((await now()).state).toBe('running');
        expect(existsSync(memory)).toBe(false);
        expect(await snapshotsIn(image)).toEqual([]);
      },
    );

    test('to bring the domain back keeps its memory and names the command that does', async () => {
      const domain = await guest('create');
      const error = await refusal(
        host.save(
          domain,
          's1',
          args(),
          job(async (phase) => {
            if (phase !== 'restoring') return;
            await writeFile(`${memory}.copy`, await readFile(memory));
            await writeFile(memory, 'damaged');
          }),
        ),
      );
      expect(error.code).toBe('OPERATION_FAILED');
      expect(error.message).toContain(`domain 'g' was saved and could not be restored`);
      expect(error.message).toContain(`'virsh restore ${memory}' starts it again`);
      expect(error.message).toContain(`snapshot 's1' is left in its images`);
      await writeFile(memory, await readFile(`${memory}.copy`));
      await run('restore', memory);
      expect((await now()).state).toBe('running');
      expect(gone).toEqual([]);
    });
  });

  describe('a memory image', () => {
    test('of the domain is accepted', async () => {
      const domain = await guest('define');
      await host.save(domain, 's1', args(), job());
      await expect(host.checkRestore(await now(), saved(), await definition())).resolves.toBeUndefined();
    });

    test('of another domain is refused in libvirt’s words', async () => {
      const domain = await guest('define');
      await host.save(domain, 's1', args(), job());
      const other = { ...domain, ref: { ...domain.ref, name: 'h', uuid: OTHER_UUID } };
      expect((await refusal(host.checkRestore(other, saved(), await definition()))).message).toBe(
        `operation failed: cannot restore domain 'h' uuid ${OTHER_UUID} from a file which belongs to domain 'g' uuid ${UUID}`,
      );
    });

    test('that is missing or damaged is refused', async () => {
      const domain = await guest('define');
      expect((await refusal(host.checkRestore(domain, saved(), await definition()))).message).toContain(memory);
      await writeFile(memory, 'damaged');
      expect((await refusal(host.checkRestore(domain, saved(), await definition()))).message).toContain(
        `incomplete save header in '${memory}'`,
      );
    });
  });

  describe('a domain has gone', () => {
    test('when it is undefined, not when it only becomes transient', async () => {
      await guest('define');
      await run('undefine', 'g');
      await settled();
      expect(gone).toEqual([]);
      await run('destroy', 'g');
      await until(() => gone.length > 0);
      await guest('define');
      await run('destroy', 'g');
      await run('undefine', 'g');
      await until(() => gone.length > 1);
      expect(gone).toEqual(['g', 'g']);
    });

    test('when a transient one ends, not when it is saved, or destroyed to be reverted', async () => {
      const domain = await guest('create');
      await host.save(domain, 's1', args(), job());
      await host.deleteDiskSnapshots(domain, 's1', disks());
      const active = await now();
      expect(active.persistent).toBe(false);
      const kept = await definition();
      await host.destroy(active);
      await host.restore(active, memory, { paused: false, definition: kept });
      await settled();
      expect(gone).toEqual([]);
      await run('destroy', 'g');
      await until(() => gone.length > 0);
      expect(gone).toEqual(['g']);
    });

    test('not when its end could not be brought about', async () => {
      const domain = await guest('create');
      await run('destroy', 'g');
      await until(() => gone.length === 1);
      await refusal(host.destroy(domain));
      await guest('create');
      await run('destroy', 'g');
      await until(() => gone.length === 2);
    });
  });

  test.each([['live', { live: true }, 84, 'take the snapshot without the live flag']] as const)(
    'what cannot be done through libvirt is refused up front: %s',
    async (_what, changed, code, text) => {
      const error = await refusal(host.checkSave(await guest('define'), { ...args(), ...changed }));
      expect(error.fields.code).toBe(code);
      expect(error.message).toContain(text);
    },
  );
});

describe('over the qemu driver', () => {
  beforeEach(async () => {
    await open('qemu:///session');
    await chmod(image, 0o666);
  });

  const define = async (): Promise<Domain> => {
    const file = join(libvirtd.directory, 'guest.xml');
    await writeFile(
      file,
      `<domain type='qemu'><name>g</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory>
      <os><type arch='x86_64'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda' bus='virtio'/></disk>
      <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`,
    );
    await run('define', file);
    await run('start', 'g');
    return now();
  };

  test.each([
    ['running', false, RESUMED_FROM_SNAPSHOT],
    ['paused', true, SUSPENDED_FROM_SNAPSHOT],
  ])(
    'a real guest that is %s is saved unseen, and reverted as libvirt tells it',
    async (state, paused, last) => {
      await define();
      if (paused) await run('suspend', 'g');
      const domain = await now();
      expect(await clientSees(async () => host.save(domain, 's1', args(), job()))).toEqual([]);
      expect((await now()).state).toBe(state);
      expect(await snapshotsIn(image)).toEqual(['s1']);
      const events = await clientSees(() => revert(paused));
      // qemu tells of the end of the process, too.
      const shutdown = 6;
      expect(events.filter(({ event }) => event !== shutdown)).toEqual([
        STOPPED_FROM_SNAPSHOT,
        STARTED_FROM_SNAPSHOT,
        last,
      ]);
      expect((await now()).state).toBe(state);
      await run('destroy', 'g');
    },
    60_000,
  );
});
