import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { LiveSnapshots } from '../../../../src/disks/live-snapshots.ts';
import { LibvirtError } from '../../../../src/errors.ts';
import { StorageDaemon } from '../../../../src/hosts/embedded/storage-daemon.ts';
import { ByLibxl, type LibxlSnapshots } from '../../../../src/hosts/libvirt/by-libxl.ts';
import { DeathWatch } from '../../../../src/hosts/libvirt/death-watch.ts';
import { Launcher } from '../../../../src/hosts/libvirt/launch.ts';
import { SavedDomains } from '../../../../src/hosts/libvirt/save-and-restore/saved-domains.ts';
import { encodeMemoryImageHeader, readMemoryImage } from '../../../../src/memory/image-file.ts';
import type { MechanismName } from '../../../../src/model/daemon-status.ts';
import type { DiskImage } from '../../../../src/model/disk-image.ts';
import type { Domain, DomainState } from '../../../../src/model/domain.ts';
import type { LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../../../src/model/libxl.ts';
import type { Phase } from '../../../../src/model/phases.ts';
import type { Job, JobProgress } from '../../../../src/snapshots/ports/jobs.ts';
import { snapshotsIn } from '../../../support/disks/images.ts';
import { newImage } from '../../../support/hosts/embedded.ts';
import {
  DEFINITION,
  GUEST,
  LIVE_XML,
  NO_LIVE_DISKS,
  ON_ARM,
  REARMED,
  Record,
  RecordedEvents,
  RecordedUpstream,
  RUNNING,
} from '../../../support/hosts/recorded-upstream.ts';
import { refusal } from '../../../support/refusal.ts';

const DISK = `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/d/q.qcow2'/>
  <target dev='xvda' bus='xen'/></disk>`;
const ARGS: LibxlDomainSnapshotArgs = { memory: true, memory_path: '/m/s1.save' };
const RESULT: LibxlDomainSnapshot = { name: 's1', memory: true, memory_path: '/m/s1.save', memory_bytes: 100 };
/** Ident, version, options; something; the END record. */
const STREAM = Buffer.concat([Buffer.from('LibxlFmt\0\0\0\x02\0\0\0\0RAM', 'latin1'), Buffer.alloc(8)]);

let record: Record;
let upstream: RecordedUpstream;
let directory: string;
let daemon: StorageDaemon | undefined;
/** Images that libvirtd does not know, by disk. */
let overlays: ReadonlyMap<string, DiskImage>;

beforeEach(async () => {
  record = new Record();
  upstream = new RecordedUpstream(record);
  overlays = new Map();
  directory = await mkdtemp(join(tmpdir(), 'xls-'));
});

afterEach(async () => {
  await daemon?.[Symbol.asyncDispose]();
  daemon = undefined;
  await rm(directory, { recursive: true });
});

type Save = LibxlSnapshots['domainSnapshotSave'];

/** libxl's part as it goes when all goes well. */
const saves: Save = async (domid, name, _args, { phase, progress }) => {
  record.write(`domainSnapshotSave ${domid} ${name}`);
  for (const each of ['saving', 'suspended', 'paused', 'disks-done'] as const) {
    await phase?.(each);
    record.write(`done ${each}`);
  }
  progress?.({ done: 100, total: 100 });
  return RESULT;
};

function mechanism(domainSnapshotSave: Save = saves, refuse?: LibvirtError): ByLibxl {
  const events = new RecordedEvents(record);
  const deathWatch = new DeathWatch({
    upstream,
    events,
    log: (text) => record.write(`log ${text}`),
  });
  const libxl: LibxlSnapshots = {
    domainSnapshotSave,
    checkDomainSnapshotSave: async (domid) => {
      record.write(`checkDomainSnapshotSave ${domid}`);
      if (refuse) throw refuse;
    },
    domainHold: () => Promise.reject(new Error('no disk is open twice')),
    domainSnapshotRecover: async (domid, phase) => {
      record.write(`domainSnapshotRecover ${domid} ${phase}`);
      if (refuse) throw refuse;
    },
    hostMemory: () => Promise.reject(new Error('nobody asks')),
    qmpSocketOf: async (domid) => {
      record.write(`qmpSocketOf ${domid}`);
      return daemon?.qmpSocket ?? '';
    },
  };
  const launcher = new Launcher(upstream, events);
  const savedDomains = new SavedDomains({ upstream, events, launcher, scratchDir: directory });
  return new ByLibxl({
    upstream,
    libxl,
    deathWatch,
    liveDisks: { ...NO_LIVE_DISKS, of: () => overlays },
    savedDomains,
    log: (text) => record.write(`log ${text}`),
  });
}

function job(): Job & { readonly reported: JobProgress[] } {
  const reported: JobProgress[] = [];
  return {
    signal: new AbortController().signal,
    reported,
    phase: async (name) => record.write(`phase ${name}`),
    plan: async () => {},
    definition: async () => {},
    progress: (progress) => reported.push(progress),
  };
}

describe('save', () => {
  test('reads the definition, makes sure of the domain, lets libxl work, phase by phase, and re-arms libvirtd', async () => {
    const recorded = job();
    expect(await mechanism().save(RUNNING, 's1', ARGS, recorded)).toBe(RESULT);
    expect(record.lines).toEqual([
      'getXMLDesc 1',
      'lookupByUUID',
      'domainSnapshotSave 5 s1',
      'phase saving',
      'done saving',
      'phase suspended',
      'done suspended',
      'phase paused',
      'done paused',
      'phase disks-done',
      'done disks-done',
      ...REARMED,
    ]);
    expect(recorded.reported).toEqual([{ done: 100, total: 100 }]);
  });

  test('gives libxl the live definition, inactive and with its password, and what the client asked for', async () => {
    const given: unknown[] = [];
    const recorded = job();
    const save: Save = async (domid, name, args, { domainXml, signal }) => {
      given.push(domid, name, args, signal);
      expect(domainXml).toContain(`<domain type='xen'>`);
      expect(domainXml).toContain(`passwd='secret'`);
      expect(domainXml).not.toContain('5901');
      return RESULT;
    };
    await mechanism(save).save(RUNNING, 's1', ARGS, recorded);
    expect(given).toEqual([5, 's1', ARGS, recorded.signal]);
  });

  test('case B: the image names the overlay that the guest runs on, which libvirtd does not know', async () => {
    upstream.xml = LIVE_XML.replace('<devices>', `<devices>${DISK}`);
    overlays = new Map([['xvda', { path: '/d/q.e1', format: 'qcow2' }]]);
    const headers: string[] = [];
    const save: Save = async (_domid, _name, _args, { domainXml }) => {
      headers.push(domainXml);
      return RESULT;
    };
    await mechanism(save).save(RUNNING, 's1', ARGS, job());
    expect(headers).toEqual([expect.stringContaining(`<source file='/d/q.e1'/>`)]);
    expect(headers.join()).not.toContain('q.qcow2');
  });

  test('re-arms libvirtd after a failure, too, since the guest may have been suspended before it', async () => {
    const failure = new LibvirtError('OPERATION_ABORTED', 'cancelled by client');
    const save: Save = async (_domid, _name, _args, { phase }) => {
      await phase?.('saving');
      throw failure;
    };
    expect(await refusal(mechanism(save).save(RUNNING, 's1', ARGS, job()))).toBe(failure);
    expect(record.lines.slice(-REARMED.length)).toEqual(REARMED);
  });

  test('leaves libvirtd alone where libxl refused before its first phase', async () => {
    const failure = new LibvirtError('OPERATION_INVALID', 'no');
    expect(await refusal(mechanism(() => Promise.reject(failure)).save(RUNNING, 's1', ARGS, job()))).toBe(failure);
    expect(record.lines).toEqual(['getXMLDesc 1', 'lookupByUUID']);
  });

  test('leaves libvirtd alone where the journal could not record that the save begins', async () => {
    const full: Job = { ...job(), phase: () => Promise.reject(new LibvirtError('SYSTEM_ERROR', 'disk full')) };
    expect((await refusal(mechanism().save(RUNNING, 's1', ARGS, full))).detail).toBe('disk full');
    expect(record.lines).not.toContain('pmSuspendForDuration 0');
  });

  test('leaves libvirtd alone where only disks were taken, and nothing was suspended', async () => {
    const args = { memory: false };
    await mechanism().save(RUNNING, 's1', args, job());
    expect(record.lines).not.toContain('pmSuspendForDuration 0');
  });

  test('keeps the snapshot where libvirtd could not be re-armed', async () => {
    upstream.failures.pmSuspendForDuration = { times: 1 };
    expect(await mechanism().save(RUNNING, 's1', ARGS, job())).toBe(RESULT);
    expect(record.lines.some((line) => line.startsWith('log libvirtd may no longer notice'))).toBe(true);
  });

  test.each([
    ['ended', undefined],
    ['started anew', { ...GUEST, id: 6 }],
  ])('touches no domain that has %s since it was looked up', async (_what, ref) => {
    upstream.ref = ref;
    const error = await refusal(mechanism().save(RUNNING, 's1', ARGS, job()));
    expect(error.fields.code).toBe(55);
    expect(error.detail).toBe(`domain 'g' has ended or was started again in the meantime`);
    expect(record.lines).not.toContain('domainSnapshotSave 5 s1');
  });
});

describe('recover', () => {
  const recover = (phase: Phase, domain: Domain = RUNNING) =>
    mechanism().recover(domain, { operation: 'create', phase, memoryPath: '/m/s1.save' });

  test.each(['saving', 'suspended', 'paused', 'disks-done'] as const)(
    'of a save that was interrupted in phase %s: the guest runs again, and libvirtd is re-armed',
    async (phase) => {
      await recover(phase);
      expect(record.lines).toEqual([`domainSnapshotRecover 5 ${phase}`, ...REARMED]);
    },
  );

  test.each(['disks', 'metadata', 'halt'] as const)('in phase %s the guest was not stopped', async (phase) => {
    await recover(phase);
    expect(record.lines).toEqual([]);
  });

  test('of a domain that is off needs neither', async () => {
    await recover('suspended', { ...RUNNING, ref: { ...GUEST, id: -1 }, state: 'shutoff' });
    expect(record.lines).toEqual([]);
  });

  test('does not re-arm libvirtd if the guest could not be resumed', async () => {
    const refused = new LibvirtError('OPERATION_FAILED', 'left suspended');
    const recovered = mechanism(saves, refused).recover(RUNNING, { operation: 'create', phase: 'suspended' });
    expect(await refusal(recovered)).toBe(refused);
    expect(record.lines).toEqual(['domainSnapshotRecover 5 suspended']);
  });
});

describe('checkSave', () => {
  test('a Xen that cannot save guests, as on Arm: refused with memory, and not without', async () => {
    upstream.capabilities = ON_ARM;
    const { code, message } = await refusal(mechanism().checkSave(RUNNING, ARGS));
    expect(code).toBe('OPERATION_UNSUPPORTED');
    expect(message).toContain("cannot save the memory of domain 'g': take the snapshot with --disk-only");
    await mechanism().checkSave(RUNNING, { memory: false });
  });

  test('a transient domain has overlays only if no event restarts it: libvirtd would start it on the base', async () => {
    const transient: Domain = { ...RUNNING, persistent: false };
    const disk = { vdev: 'xvda', format: 'qcow2' as const, pdev_path: '/d/a' };
    const external = { memory: false, disks: [{ disk, name: 's1', external: true, external_path: '/d/a.s1' }] };
    const xml = upstream.xml;
    upstream.xml = xml.replace(
      '<devices>',
      '<on_reboot>destroy</on_reboot><on_crash>coredump-restart</on_crash><devices>',
    );
    const { code, message } = await refusal(mechanism().checkSave(transient, external));
    expect(code).toBe('OPERATION_INVALID');
    expect(message).toContain("external snapshot of disk 'xvda' of transient domain 'g' is not supported");
    expect(message).toContain('at its next start by <on_crash>');
    await mechanism().checkSave(transient, { memory: false });
    await mechanism().checkSave(RUNNING, external);
    upstream.xml = xml.replace('<devices>', '<on_reboot>preserve</on_reboot><on_crash>destroy</on_crash><devices>');
    await mechanism().checkSave(transient, external);
  });

  const inState = (state: DomainState): Domain => ({ ...RUNNING, state });

  test('a running domain is libxl’s to judge', async () => {
    await mechanism().checkSave(RUNNING, ARGS);
    expect(record.lines).toEqual(['checkDomainSnapshotSave 5']);
    const refused = new LibvirtError('OPERATION_UNSUPPORTED', 'no shadow paging');
    expect(await refusal(mechanism(saves, refused).checkSave(RUNNING, ARGS))).toBe(refused);
  });

  test.each([
    [
      'paused',
      55,
      `Requested operation is not valid: Domain '5' has to be running because libxenlight will suspend it: resume domain 'g' first`,
    ],
    [
      'pmsuspended',
      84,
      `Operation not supported: libxl doesn't support taking snapshots of PMSUSPENDED guests: wake domain 'g' up first`,
    ],
    ['crashed', 55, `Requested operation is not valid: domain 'g' cannot be saved in state 'crashed'`],
    ['shutdown', 55, `Requested operation is not valid: domain 'g' cannot be saved in state 'shutdown'`],
    ['nostate', 55, `Requested operation is not valid: domain 'g' cannot be saved in state 'nostate'`],
  ] as const)('a %s domain is refused with code %i before libxl is asked', async (state, code, message) => {
    const error = await refusal(mechanism().checkSave(inState(state), ARGS));
    expect(error.fields.code).toBe(code);
    expect(error.message).toBe(message);
    expect(record.lines).toEqual([]);
  });

  test('the disks alone of a paused domain can be taken', async () => {
    await mechanism().checkSave(inState('paused'), { memory: false });
    expect(record.lines).toEqual(['checkDomainSnapshotSave 5']);
  });

  test.each([
    ['its id', { ...GUEST, name: 'Domain-0', id: 0 }],
    ['its UUID', { name: 'Domain-0', uuid: '00000000-0000-0000-0000-000000000000', id: 3 }],
  ])('Domain-0 is refused by %s', async (_what, ref) => {
    const error = await refusal(mechanism().checkSave({ ...RUNNING, ref }, ARGS));
    expect(error.message).toBe(
      `Requested operation is not valid: domain 'Domain-0' is the control domain: it cannot be saved`,
    );
    expect(record.lines).toEqual([]);
  });
});

describe('checkRestore', () => {
  beforeEach(() => {
    upstream.readsImages = false;
  });

  const imageOf = async (xml: string, stream: Buffer): Promise<string> => {
    const path = join(directory, 's1.save');
    await writeFile(path, encodeMemoryImageHeader(xml));
    await appendFile(path, stream);
    return path;
  };

  const saved = (path: string) => ({ path, name: 's1', disks: [] });

  test('accepts an image of the domain under an earlier name', async () => {
    const image = await imageOf(LIVE_XML.replace('<name>g<', '<name>h<'), STREAM);
    await expect(mechanism().checkRestore(RUNNING, saved(image), DEFINITION)).resolves.toBeUndefined();
  });

  test('accepts a whole image of the domain', async () => {
    await expect(
      mechanism().checkRestore(RUNNING, saved(await imageOf(LIVE_XML, STREAM)), DEFINITION),
    ).resolves.toBeUndefined();
  });

  test.each([
    ['another UUID’s', LIVE_XML.replace('777777777777', '888888888888'), STREAM, `888888888888`],
    ['one without a stream', LIVE_XML, Buffer.alloc(0), 'no libxl stream'],
    ['one cut short', LIVE_XML, STREAM.subarray(0, -1), 'has no end'],
  ])('refuses %s', async (_what, xml, stream, text) => {
    const error = await refusal(mechanism().checkRestore(RUNNING, saved(await imageOf(xml, stream)), DEFINITION));
    expect(error.fields.code).toBe(9);
    expect(error.message).toContain(text);
  });

  test.each([
    [
      'a disk more',
      LIVE_XML.replace('<devices>', `<devices>${DISK}`),
      'Target domain disk count 0 does not match source 1',
    ],
    [
      'a host device',
      LIVE_XML.replace('<devices>', `<devices><hostdev mode='subsystem' type='pci'/>`),
      'host device count',
    ],
    ['more memory', LIVE_XML.replace('65536', '131072'), 'Target domain max memory 65536 does not match source 131072'],
    ['another machine', LIVE_XML.replace('linux', 'hvm'), 'OS type'],
  ])('refuses one whose definition has %s: in libvirt’s words', async (_what, xml, text) => {
    const image = await imageOf(xml, STREAM);
    const error = await refusal(mechanism().checkRestore(RUNNING, saved(image), DEFINITION));
    expect(error.fields.code).toBe(67);
    expect(error.message).toContain(text);
    expect(error.message).toContain(`memory image '${image}' was saved with another definition than the snapshot has`);
  });

  test('accepts one whose balloon was elsewhere when it was saved', async () => {
    const xml = LIVE_XML.replace('<os>', `<currentMemory unit='KiB'>1024</currentMemory><os>`);
    await expect(
      mechanism().checkRestore(RUNNING, saved(await imageOf(xml, STREAM)), DEFINITION),
    ).resolves.toBeUndefined();
  });

  test('nothing of the image’s own definition is in it when libvirtd reads it; afterwards it is what it was', async () => {
    const evil = LIVE_XML.replace('<devices>', `<devices><emulator>/home/bob/run-me</emulator>`)
      .replace('</os>', '<kernel>/home/bob/kernel</kernel></os>')
      .replace(`<domain type='xen'`, `<domain type='xen' xmlns:xen='http://libvirt.org/schemas/domain/xen/1.0'`)
      .replace('</domain>', `<xen:commandline><xen:arg value='evil'/></xen:commandline></domain>`);
    const image = await imageOf(`${evil}\0<domain><name>second</name></domain>`, STREAM);
    const before = await readFile(image);
    await mechanism().checkRestore(RUNNING, saved(image), DEFINITION);
    const started: Buffer[] = [];
    upstream.restoring = async (path) => void started.push(await readFile(path));
    await new Launcher(upstream, new RecordedEvents(record)).restore(GUEST, image, {
      paused: false,
      definition: DEFINITION,
    });
    expect(started).toHaveLength(1);
    expect(started[0]?.includes('bob')).toBe(false);
    expect(started[0]?.includes('second')).toBe(false);
    expect(started[0]?.includes('evil')).toBe(false);
    expect((await readMemoryImage(image)).domainXml).toBe(evil);
    expect((await readFile(image)).length).toBe(before.length);
  });

  test('refuses a missing one, naming it', async () => {
    const path = join(directory, 'nowhere.save');
    expect((await refusal(mechanism().checkRestore(RUNNING, saved(path), DEFINITION))).message).toBe(
      `Failed to open domain image file '${path}': No such file or directory`,
    );
  });
});

describe('deleteDiskSnapshots', () => {
  const disk = { vdev: 'xvda', format: 'qcow2', readwrite: 1 } as const;

  test('goes through the domain’s device model', async () => {
    const path = await newImage(join(directory, 'a.qcow2'));
    daemon = await StorageDaemon.start(directory, 5, [{ ...disk, pdev_path: path }]);
    const { signal } = new AbortController();
    const monitor = async () => daemon?.qmpSocket ?? '';
    const disks = [{ disk: { ...disk, pdev_path: path }, name: 's1' }];
    await (await LiveSnapshots.prepare({ monitor, name: 's1', disks, signal })).take();
    expect(await snapshotsIn(path)).toEqual(['s1']);
    await mechanism().deleteDiskSnapshots(RUNNING, 's1', disks);
    expect(await snapshotsIn(path)).toEqual([]);
    expect(record.lines).toEqual(['lookupByUUID', 'qmpSocketOf 5']);
    await mechanism().deleteDiskSnapshots(RUNNING, 's1', disks);
  });

  test('asks nobody where there are no disks', async () => {
    await mechanism().deleteDiskSnapshots(RUNNING, 's1', []);
    expect(record.lines).toEqual([]);
  });

  test('touches no domain that was started anew: its id is another’s', async () => {
    upstream.ref = { ...GUEST, id: 6 };
    const error = await refusal(mechanism().deleteDiskSnapshots(RUNNING, 's1', [{ disk, name: 's1' }]));
    expect(error.fields.code).toBe(55);
    expect(record.lines).toEqual(['lookupByUUID']);
  });
});

test('images of a detached disk that cannot be closed are logged', async () => {
  await mechanism().closeDetached(RUNNING, ['xvdb']);
  expect(record.lines).toEqual([
    `qmpSocketOf ${RUNNING.ref.id}`,
    expect.stringMatching(
      /^log images of disks that were detached from domain '.*' may still be open in its device model: ./,
    ),
  ]);
});

describe('after a daemon that went through libvirt', () => {
  const off: Domain = { ...RUNNING, ref: { ...GUEST, id: -1 }, state: 'shutoff' };
  const image = () => join(directory, 's1.save');
  const recover = (phase: Phase, mechanismThen?: MechanismName, domain = off) =>
    mechanism().recover(domain, {
      ...{ operation: 'create', phase, memoryPath: image() },
      ...(mechanismThen && { mechanism: mechanismThen }),
    });

  test.each(['saving', 'saved', 'restoring'] as const)(
    'a domain that is off comes back from its image, in phase %s',
    async (phase) => {
      await writeFile(image(), 'memory of the guest');
      await recover(phase, 'libvirt');
      expect(record.lines).toContain(`restoreFlags ${image()} 0`);
    },
  );

  test('one whose image is still empty had not been saved', async () => {
    await writeFile(image(), '');
    await recover('saving', 'libvirt');
    expect(record.lines.filter((line) => line.startsWith('restoreFlags'))).toEqual([]);
  });

  test.each(['saving', 'saved', 'restoring'] as const)(
    'one that runs was not stopped by libxl, in phase %s',
    async (phase) => {
      await recover(phase, 'libvirt', RUNNING);
      expect(record.lines).toEqual([]);
    },
  );

  test.each(['saving', 'suspended', 'paused', 'disks-done'] as const)(
    'after one that went through libxl a domain that is off has ended by itself, in phase %s: no file is its memory',
    async (phase) => {
      await writeFile(image(), 'memory from before, to be overwritten');
      await recover(phase, 'libxl');
      expect(record.lines).toEqual([]);
    },
  );

  test('if the record does not say which, nobody is started in phase saving without being asked for', async () => {
    await recover('saving');
    expect(record.lines.filter((line) => line.startsWith('restoreFlags'))).toEqual([]);
    await writeFile(image(), 'memory of the guest');
    await expect(recover('saving')).rejects.toThrow(`else start the domain from it: virsh restore ${image()}`);
    expect(record.lines.filter((line) => line.startsWith('restoreFlags'))).toEqual([]);
  });
});
