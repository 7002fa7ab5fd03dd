/** What no real libvirtd can be made to do at will; everything else is in test/integration/host-libvirt.test.ts. */

import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../../src/errors.ts';
import { Departures } from '../../../../../src/hosts/libvirt/departures.ts';
import { Launcher } from '../../../../../src/hosts/libvirt/launch.ts';
import { BySaveAndRestore } from '../../../../../src/hosts/libvirt/save-and-restore/by-save-and-restore.ts';
import { SavedDomains } from '../../../../../src/hosts/libvirt/save-and-restore/saved-domains.ts';
import { encodeMemoryImageHeader, writeTie } from '../../../../../src/memory/image-file.ts';
import type { DiskImage } from '../../../../../src/model/disk-image.ts';
import type { Domain } from '../../../../../src/model/domain.ts';
import type { Phase } from '../../../../../src/model/phases.ts';
import type { OfflineDisks } from '../../../../../src/snapshots/ports/disks.ts';
import type { Job } from '../../../../../src/snapshots/ports/jobs.ts';
import { newImage } from '../../../../support/hosts/embedded.ts';
import {
  DEFINITION,
  GUEST,
  LIVE_XML,
  NO_LIVE_DISKS,
  ON_ARM,
  Record,
  RecordedEvents,
  RecordedUpstream,
  RUNNING,
} from '../../../../support/hosts/recorded-upstream.ts';

let record: Record;
let upstream: RecordedUpstream;
let directory: string;
let memory: string;
/** Images that libvirtd does not know, by disk. */
let overlays: ReadonlyMap<string, DiskImage>;

beforeEach(async () => {
  record = new Record();
  upstream = new RecordedUpstream(record);
  directory = await mkdtemp(join(tmpdir(), 'xls-'));
  memory = join(directory, 's1.save');
  overlays = new Map();
});

afterEach(() => rm(directory, { recursive: true }));

const STREAM = `LibxlFmt\0\0\0\x02\0\0\0\0RAM${'\0'.repeat(8)}`;

const saved = () => ({ path: memory, name: 's1', disks: [] });

const images: OfflineDisks = {
  create: async (name) => record.write(`create ${name}`),
  checkFree: async (name) => record.write(`checkFree ${name}`),
  apply: async (name) => record.write(`apply ${name}`),
  settleApply: async () => undefined,
  delete: async (name) => record.write(`delete ${name}`),
  check: async (name) => record.write(`check ${name}`),
  checkApply: async () => {},
  checkStart: async () => record.write('check files'),
  commit: async (layers, job) => {
    for (const layer of layers) {
      record.write(`commit ${layer.top.path}`);
      await job.merged(layer);
    }
  },
  isEmptied: async () => false,
  checkMerge: async () => record.write('checkMerge'),
  checkDelete: async () => record.write('checkDelete'),
  checkRebase: async () => record.write('checkRebase'),
  checkRemoval: async () => record.write('checkRemoval'),
  chains: async () => [],
  fileKey: async (path) => path,
  keysBelow: async () => new Set(),
  rebase: async () => record.write('rebase'),
  remove: async () => record.write('remove'),
};

function mechanism(driver: string): BySaveAndRestore {
  const events = new RecordedEvents(record);
  const launcher = new Launcher(upstream, events);
  return new BySaveAndRestore({
    upstream,
    driver,
    events,
    launcher,
    departures: new Departures(upstream),
    images,
    liveDisks: { ...NO_LIVE_DISKS, of: () => overlays },
    savedDomains: new SavedDomains({ upstream, events, launcher, scratchDir: directory }),
    log: (text) => record.write(`log ${text}`),
  });
}

const job: Job = {
  signal: new AbortController().signal,
  phase: async () => {},
  plan: async () => {},
  definition: async () => {},
  progress: () => {},
};

const save = (driver: string, state: 'running' | 'paused' = 'running'): Promise<unknown> =>
  mechanism(driver).save({ ...RUNNING, state }, 's1', { memory: true, memory_path: memory }, job);

describe('a save whose end is not known', () => {
  beforeEach(async () => {
    upstream.failures.saveFlags = { times: 1, error: new LibvirtError('RPC', 'connection lost', { domain: 'RPC' }) };
    await writeFile(memory, 'memory of the guest');
  });

  test.each([
    ['is off', { ...GUEST, id: -1 }],
    ['is unknown', undefined],
  ])('keeps the memory image where the domain %s', async (_what, ref) => {
    upstream.ref = ref;
    await expect(save('Xen')).rejects.toThrow(
      `domain 'g' was saved and could not be restored: connection lost; its memory is in '${memory}'`,
    );
    expect(existsSync(memory)).toBe(true);
    expect(record.lines).not.toContain('create s1');
  });

  test('keeps the memory image where libvirtd cannot be asked', async () => {
    upstream.failures.lookupByUUID = { times: 1 };
    await expect(save('Xen')).rejects.toThrow(`this starts it again: virsh restore ${memory}`);
    expect(existsSync(memory)).toBe(true);
  });

  test('and, where the save goes on without us, waits for its end', async () => {
    upstream.busy = 2;
    upstream.refAfterJob = { ...GUEST, id: -1 };
    await expect(save('Xen')).rejects.toThrow(`its memory is in '${memory}'`);
    expect(existsSync(memory)).toBe(true);
    expect(record.lines.filter((line) => line === 'getJobStats')).toHaveLength(3);
  });

  test('removes it where the domain never went away', async () => {
    await expect(save('Xen')).rejects.toThrow('connection lost');
    expect(existsSync(memory)).toBe(false);
  });
});

test('the definition is recorded before the domain is saved, disks alone included', async () => {
  for (const args of [{ memory: true, memory_path: memory }, {}]) {
    record.lines.length = 0;
    const scratch = join(directory, `${GUEST.uuid}.save`);
    for (const path of [memory, scratch]) await writeFile(path, 'memory of the guest');
    const definition = async (xml: string) => record.write(`definition ${xml.includes(GUEST.uuid)}`);
    await mechanism('Xen').save(RUNNING, 's1', args, { ...job, definition });
    const steps = record.lines.filter((line) => /^(definition|saveFlags)/.test(line));
    expect(steps).toEqual(['definition true', expect.stringMatching(/^saveFlags/)]);
  }
});

test('a link in the place of the scratch image is not written through', async () => {
  const scratch = join(directory, `${GUEST.uuid}.save`);
  await symlink(join(directory, 'elsewhere'), scratch);
  const saved = mechanism('Xen').save(RUNNING, 's1', {}, job);
  await expect(saved).rejects.toThrow(`'${scratch}' is a symbolic link, not a file that xlsnapd has made: remove it`);
  expect(record.lines.filter((line) => line.startsWith('saveFlags'))).toEqual([]);
});

describe('after a crash, a domain that is off', () => {
  const off: Domain = { ...RUNNING, ref: { ...GUEST, id: -1 }, state: 'shutoff' };
  const recover = (domain: Domain, phase: Phase): Promise<void> =>
    mechanism('Xen').recover(domain, { operation: 'create', phase, mechanism: 'libvirt', memoryPath: memory });
  beforeEach(() => writeFile(memory, 'memory of the guest'));

  test.each(['saving', 'saved', 'restoring'] as const)('comes back from the image, in phase %s', async (phase) => {
    await recover(off, phase);
    expect(record.lines).toContain(`restoreFlags ${memory} 0`);
    expect(record.lines).toContain('emit STARTED_RESTORED');
  });

  test.each(['saving', 'suspended', 'paused', 'disks-done'] as const)(
    'after a daemon that went through libxl has ended by itself, in phase %s: the file is not its memory',
    async (phase) => {
      await mechanism('Xen').recover(off, { operation: 'create', phase, mechanism: 'libxl', memoryPath: memory });
      expect(record.lines).toEqual([]);
    },
  );

  test('an image of another domain starts nobody', async () => {
    upstream.xml = LIVE_XML.replace('<uuid>1', '<uuid>2');
    await expect(recover(off, 'saved')).rejects.toThrow(`cannot restore domain 'g' uuid ${GUEST.uuid} from a file`);
    expect(record.lines.filter((line) => line.startsWith('restoreFlags'))).toEqual([]);
  });

  test.each(['metadata', 'halt'] as const)(
    'had come back before phase %s: the image is the snapshot’s',
    async (phase) => {
      await recover(off, phase);
      expect(record.lines).toEqual([]);
    },
  );

  test('comes back with the definition that it had when it was saved, whatever the image or libvirtd says now', async () => {
    const recorded = LIVE_XML.replace('65536', '32768');
    const name = '<name>renamed</name>';
    const renamed = { ...off, ref: { ...off.ref, name: 'renamed' } };
    const interrupted = { operation: 'create', phase: 'saved', mechanism: 'libvirt', memoryPath: memory } as const;
    await mechanism('Xen').recover(renamed, { ...interrupted, definition: recorded });
    expect(upstream.definedImages[0]).toContain('32768');
    expect(upstream.definedImages[0]).toContain(name);
    expect(record.lines).toContain(`restoreFlags ${memory} 0`);
    expect(record.lines.filter((line) => line.startsWith('getXMLDesc'))).toEqual([]);
  });

  test('stays off if somebody has changed the image, so that its guest cannot continue with that definition', async () => {
    upstream.saveImageDefineXML = () => Promise.reject(new Error('not the same guest'));
    const interrupted = { operation: 'create', phase: 'saved', mechanism: 'libvirt', memoryPath: memory } as const;
    await expect(mechanism('Xen').recover(off, { ...interrupted, definition: LIVE_XML })).rejects.toThrow(
      'not the same guest',
    );
    expect(record.lines.filter((line) => line.startsWith('restoreFlags'))).toEqual([]);
  });

  test('and gone, since it was transient, comes back by what the image says', async () => {
    await recover({ ...off, persistent: false }, 'saving');
    expect(record.lines).toContain(`restoreFlags ${memory} 0`);
    expect(record.lines).not.toContain('getXMLDesc 3');
  });
});

test('a domain that libxl may have left paused is named in the log with the command that continues it', async () => {
  await mechanism('Xen').recover(RUNNING, { operation: 'create', phase: 'paused', memoryPath: memory });
  expect(record.lines).toContainEqual(expect.stringContaining(`log libxl, which had paused domain 'g'`));
  expect(record.lines).toContainEqual(expect.stringContaining(`'xl unpause 5' continues it`));
});

describe('after a daemon that took snapshots by libxl', () => {
  const disk = (path: string) => `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>
    <source file='${path}'/><target dev='xvda' bus='xen'/></disk>`;
  const xml = LIVE_XML.replace('<devices>', `<devices>${disk('/base')}`);

  test('a domain on overlays that libvirtd does not know comes back on them', async () => {
    overlays = new Map([['xvda', { path: '/overlay', format: 'qcow2' }]]);
    upstream.xml = xml;
    await writeFile(join(directory, `${GUEST.uuid}.save`), 'memory of the guest');
    await mechanism('Xen').save(RUNNING, 's1', {}, job);
    expect(upstream.definedImages[0]).toContain("file='/overlay'");
  });

  test('memory whose disks have changed since is refused', async () => {
    await writeFile(memory, encodeMemoryImageHeader(LIVE_XML));
    await appendFile(memory, Buffer.from(STREAM, 'latin1'));
    await writeTie(memory, '00'.repeat(32));
    const pdev_path = await newImage(join(directory, 'a'));
    const disks = [{ disk: { vdev: 'xvda', pdev_path, format: 'qcow2' } as const, external: true }];
    const check = mechanism('Xen').checkRestore(RUNNING, { path: memory, name: 's1', disks }, DEFINITION);
    await expect(check).rejects.toThrow('does not go with its disks any more');
  });
});

test('libvirt’s xen driver cannot save a paused domain: refused before anything is touched', async () => {
  const check = (driver: string) => mechanism(driver).checkSave({ ...RUNNING, state: 'paused' }, {});
  await expect(check('Xen')).rejects.toThrow("resume domain 'g' first");
  await expect(check('QEMU')).resolves.toBeUndefined();
});

test('a Xen that cannot save guests, as on Arm: refused with disks alone, too, which would need the save', async () => {
  upstream.capabilities = ON_ARM;
  await expect(mechanism('Xen').checkSave(RUNNING, {})).rejects.toThrow(
    "cannot save the memory of domain 'g': shut it off before the snapshot",
  );
  await expect(mechanism('QEMU').checkSave(RUNNING, {})).resolves.toBeUndefined();
});

describe('what drivers tell of a save', () => {
  test.each([
    ['QEMU', 'running', ['expect STOPPED_SAVED', 'expect SHUTDOWN_HOST', 'expect SUSPENDED_PAUSED']],
    ['QEMU', 'paused', ['expect STOPPED_SAVED', 'expect SHUTDOWN_HOST']],
    ['Xen', 'running', ['expect STOPPED_SAVED']],
    ['TEST', 'running', ['expect STOPPED_SAVED']],
  ] as const)('%s, %s: no more is expected than may come', async (driver, state, expected) => {
    upstream.state = state;
    await writeFile(memory, 'memory of the guest');
    await save(driver, state);
    const end = record.lines.findIndex((line) => line.startsWith('saveFlags'));
    expect(record.lines.slice(0, end)).toEqual(['getXMLDesc 1', 'check files', ...expected]);
  });
});

describe('an image that libvirtd cannot read (libxl’s driver) is read here', () => {
  const image = async (xml: string, stream: string): Promise<void> => {
    await writeFile(memory, encodeMemoryImageHeader(xml));
    await appendFile(memory, Buffer.from(stream, 'latin1'));
  };
  beforeEach(() => {
    upstream.readsImages = false;
  });

  test('and accepted when it is whole and the domain’s', async () => {
    await image(LIVE_XML, STREAM);
    await expect(mechanism('Xen').checkRestore(RUNNING, saved(), DEFINITION)).resolves.toBeUndefined();
  });

  test.each([
    ['another domain’s', LIVE_XML.replace('<uuid>1', '<uuid>2'), STREAM, `belongs to domain 'g'`],
    ['cut short', LIVE_XML, STREAM.slice(0, -1), 'has no end'],
  ])('and refused when it is %s', async (_what, xml, stream, text) => {
    await image(xml, stream);
    await expect(mechanism('Xen').checkRestore(RUNNING, saved(), DEFINITION)).rejects.toThrow(text);
  });
});
