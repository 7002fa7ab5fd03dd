import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { Departures } from '../../../../src/hosts/libvirt/departures.ts';
import { Launcher } from '../../../../src/hosts/libvirt/launch.ts';
import { LibvirtHost } from '../../../../src/hosts/libvirt/libvirt-host.ts';
import { SavesOnOverlays } from '../../../../src/hosts/libvirt/overlaid/overlaid-saves.ts';
import type { LiveDisks } from '../../../../src/snapshots/ports/store.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';
import {
  DEFINITION,
  GUEST,
  LIVE_XML,
  NO_LIVE_DISKS,
  NO_MECHANISM,
  Record,
  RecordedEvents,
  RecordedUpstream,
  RUNNING,
} from '../../../support/hosts/recorded-upstream.ts';

const folder = mkdtempSync(join(tmpdir(), 'xlsnap-libvirt-host-'));
const MEMORY = join(folder, 's1.save');
writeFileSync(MEMORY, '', { mode: 0o600 });
afterAll(() => rmSync(folder, { recursive: true }));

let record: Record;
let upstream: RecordedUpstream;
let events: RecordedEvents;
let host: LibvirtHost;

beforeEach(() => {
  record = new Record();
  upstream = new RecordedUpstream(record);
  events = new RecordedEvents(record);
  host = new LibvirtHost({
    upstream,
    events,
    launcher: new Launcher(upstream, events),
    departures: new Departures(upstream),
    mechanism: NO_MECHANISM,
    liveDisks: NO_LIVE_DISKS,
    saves: new SavesOnOverlays({ upstream, liveDisks: NO_LIVE_DISKS }),
  });
});

test('a transient domain that is destroyed is expected back; what was known of its disks ends with its run', async () => {
  const departures = {
    withReturn: async (_: unknown, stop: () => Promise<void>) => {
      record.write('is to return');
      await stop();
    },
  } as unknown as Departures;
  const liveDisks = { ...NO_LIVE_DISKS, forget: async (uuid: string) => record.write(`forget disks of ${uuid}`) };
  const launcher = new Launcher(upstream, events);
  const saves = new SavesOnOverlays({ upstream, liveDisks });
  const parts = { upstream, events, launcher, departures, mechanism: NO_MECHANISM, liveDisks, saves };
  const destroying = new LibvirtHost(parts);
  await destroying.destroy(RUNNING);
  await destroying.destroy({ ...RUNNING, persistent: false });
  const seen = record.lines.filter((line) => !/^(expect|emit)/.test(line));
  const forget = `forget disks of ${GUEST.uuid}`;
  expect(seen).toEqual(['destroy', forget, 'is to return', 'destroy', forget]);
});

test('case C: a disk that libvirtd does not show any more is forgotten, and its images are closed', async () => {
  const closed: (readonly string[])[] = [];
  const mechanism = {
    ...NO_MECHANISM,
    closeDetached: async (_: unknown, disks: readonly string[]) => void closed.push(disks),
  };
  upstream.xml = LIVE_XML.replace(
    '</devices>',
    `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/d/a'/><target dev='xvda'/></disk></devices>`,
  );
  const { disks } = await host.definition(RUNNING, 'live');
  const overlay = { path: '/d/a.s1', format: 'qcow2' };
  const detached = ['xvdb'];
  const liveDisks: LiveDisks = {
    ...NO_LIVE_DISKS,
    of: () => new Map([['xvda', overlay]]),
    keepDisks: async (_, shown) => {
      expect(shown).toEqual(disks);
      return detached.splice(0);
    },
  };
  const launcher = new Launcher(upstream, events);
  const departures = new Departures(upstream);
  const saves = new SavesOnOverlays({ upstream, liveDisks });
  const now = new LibvirtHost({ upstream, events, launcher, departures, mechanism, liveDisks, saves });
  for (let n = 0; n < 2; n += 1) {
    const { images } = await now.definition(RUNNING, 'live');
    expect(images.get('xvda')).toEqual(overlay);
  }
  expect(closed).toEqual([['xvdb']]);
});

test('a domain that is shut off but not destroyed yet is waited for', async () => {
  upstream.state = 'shutoff';
  let asked = 0;
  upstream.lookupByUUID = async () => (++asked < 4 ? GUEST : { ...GUEST, id: -1 });
  expect((await host.lookup(GUEST)).ref.id).toBe(-1);
  expect(asked).toBe(4);
});

test('a transient domain that is shut off is gone once it is destroyed', async () => {
  upstream.state = 'shutoff';
  let asked = 0;
  upstream.lookupByUUID = async () => {
    if (++asked < 3) return GUEST;
    throw new LibvirtError('NO_DOMAIN', 'gone');
  };
  await expect(host.lookup(GUEST)).rejects.toMatchObject({ code: 'NO_DOMAIN' });
});

test('a domain that is started again while it was waited for is the new one', async () => {
  upstream.state = 'shutoff';
  upstream.lookupByUUID = async () => {
    if (upstream.state === 'running') return { ...GUEST, id: 6 };
    setImmediate(() => {
      upstream.state = 'running';
    });
    return GUEST;
  };
  expect(await host.lookup(GUEST)).toMatchObject({ ref: { id: 6 }, state: 'running' });
});

test('memory that libvirtd has saved is dropped before a start, which would go on from it', async () => {
  upstream.isManagedSaved = true;
  await host.start(RUNNING, { paused: false, definition: DEFINITION });
  const calls = record.lines.filter((line) => /^(managedSaveRemove|createWithFlags)/.test(line));
  expect(calls).toEqual(['managedSaveRemove', 'createWithFlags 0']);
});

const UNSUPPORTED_FLAG = (): LibvirtError =>
  new LibvirtError('INVALID_ARG', 'unsupported flags (0x4)', { argument: { function: 'f', name: 'flags' } });

describe('what libvirtd tells of our work is hidden, and what happened is told once it has', () => {
  test('destroy', async () => {
    await host.destroy(RUNNING);
    expect(record.lines).toEqual([
      'expect STOPPED_DESTROYED',
      'destroy',
      'emit STOPPED_FROM_SNAPSHOT',
      'expect no more STOPPED_DESTROYED',
    ]);
    expect(events.emitted).toEqual([{ ref: { ...GUEST, id: -1 }, event: 'STOPPED_FROM_SNAPSHOT' }]);
  });

  test('restore, running', async () => {
    await host.restore(RUNNING, MEMORY, { paused: false, definition: DEFINITION });
    expect(record.lines).toEqual([
      'expect STARTED_RESTORED',
      'expect RESUMED_FROM_SNAPSHOT',
      'expect SUSPENDED_RESTORED',
      `restoreFlags ${MEMORY} 0`,
      'lookupByUUID',
      'getState',
      'expect no more STARTED_RESTORED',
      'expect no more RESUMED_FROM_SNAPSHOT',
      'expect no more SUSPENDED_RESTORED',
      'emit STARTED_FROM_SNAPSHOT',
      'emit RESUMED_FROM_SNAPSHOT',
    ]);
  });

  test('restore, paused', async () => {
    upstream.state = 'paused';
    await host.restore(RUNNING, MEMORY, { paused: true, definition: DEFINITION });
    expect(record.lines).toContain(`restoreFlags ${MEMORY} 4`);
    expect(record.lines).not.toContain('suspend');
    expect(events.emitted.map(({ event }) => event)).toEqual(['STARTED_FROM_SNAPSHOT', 'SUSPENDED_FROM_SNAPSHOT']);
  });

  test('start, running and paused', async () => {
    await host.start(RUNNING, { paused: false, definition: DEFINITION });
    upstream.state = 'paused';
    await host.start(RUNNING, { paused: true, definition: DEFINITION });
    expect(record.lines.filter((line) => line.startsWith('createWithFlags'))).toEqual([
      'createWithFlags 0',
      'createWithFlags 1',
    ]);
    expect(events.emitted.map(({ event }) => event)).toEqual([
      'RESUMED_UNPAUSED',
      'STARTED_FROM_SNAPSHOT',
      'STARTED_FROM_SNAPSHOT',
      'SUSPENDED_FROM_SNAPSHOT',
    ]);
  });

  test('define', async () => {
    await host.define(parseDefinition(LIVE_XML));
    expect(record.lines).toEqual([
      'expect DEFINED_ADDED',
      'expect DEFINED_UPDATED',
      'defineXML',
      'expect no more DEFINED_ADDED',
      'expect no more DEFINED_UPDATED',
    ]);
  });

  test('nothing is told of what has failed', async () => {
    for (const call of ['destroy', 'restoreFlags', 'createWithFlags', 'defineXML'] as const) {
      upstream.failures[call] = { times: 1 };
    }
    await expect(host.destroy(RUNNING)).rejects.toThrow('destroy failed');
    await expect(host.restore(RUNNING, MEMORY, { paused: false, definition: DEFINITION })).rejects.toThrow(
      'restoreFlags failed',
    );
    await expect(host.start(RUNNING, { paused: false, definition: DEFINITION })).rejects.toThrow(
      'createWithFlags failed',
    );
    await expect(host.define(parseDefinition(LIVE_XML))).rejects.toThrow('defineXML failed');
    expect(events.emitted).toEqual([]);
    const count = (prefix: string): number => record.lines.filter((line) => line.startsWith(prefix)).length;
    expect(count('expect no more')).toBe(count('expect ') - count('expect no more'));
  });
});

describe('a domain ends up as it was asked for', () => {
  test('paused, by suspending it where the driver does not know the flag', async () => {
    upstream.failures.restoreFlags = { times: 1, error: UNSUPPORTED_FLAG() };
    await host.restore(RUNNING, MEMORY, { paused: true, definition: DEFINITION });
    expect(record.lines.filter((line) => !line.startsWith('expect'))).toEqual([
      `restoreFlags ${MEMORY} 4`,
      `restoreFlags ${MEMORY} 0`,
      'lookupByUUID',
      'getState',
      'suspend',
      'emit STARTED_FROM_SNAPSHOT',
      'emit SUSPENDED_FROM_SNAPSHOT',
    ]);
    expect(record.lines).toContain('expect SUSPENDED_PAUSED');
  });

  test('running, by resuming it where it was saved paused', async () => {
    upstream.state = 'paused';
    await host.restore(RUNNING, MEMORY, { paused: false, definition: DEFINITION });
    expect(record.lines).toContain('resume');
    expect(record.lines).toContain('expect RESUMED_UNPAUSED');
    expect(events.emitted.at(-1)?.event).toBe('RESUMED_FROM_SNAPSHOT');
  });

  test('without the flag, an argument that libvirtd does not like is no reason to try again', async () => {
    upstream.failures.restoreFlags = { times: 1, error: UNSUPPORTED_FLAG() };
    await expect(host.restore(RUNNING, MEMORY, { paused: false, definition: DEFINITION })).rejects.toThrow(
      'unsupported flags',
    );
    expect(record.lines).not.toContain(`restoreFlags ${MEMORY} 4`);
  });

  test('or an error says that it ended at once', async () => {
    upstream.ref = { ...GUEST, id: -1 };
    await expect(host.restore(RUNNING, MEMORY, { paused: false, definition: DEFINITION })).rejects.toThrow(
      `operation failed: domain 'g' ended as soon as it was started`,
    );
    expect(events.emitted).toEqual([]);
  });
});

test('a domain that goes while all are listed is in no list', async () => {
  expect(await host.list()).toEqual([RUNNING]);
  upstream.failures.getState = { times: 1, error: new LibvirtError('NO_DOMAIN', 'gone') };
  expect(await host.list()).toEqual([]);
  upstream.failures.getState = { times: 1 };
  await expect(host.list()).rejects.toThrow('getState failed');
});
