/** A host where xl owns the domains: what clients see, what xl is asked for, and the events of it. */

import { renameSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readdir, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { uuidOfName } from '../../../../src/hosts/xl/config-files.ts';
import { Monitors } from '../../../../src/hosts/xl/monitors.ts';
import { LibxlReader } from '../../../../src/hosts/xl/reading.ts';
import { XlHost } from '../../../../src/hosts/xl/xl-host.ts';
import { PartialMemoryImage } from '../../../../src/memory/partial-image.ts';
import { tieOf } from '../../../../src/memory/tie.ts';
import type { DomainRef } from '../../../../src/model/domain.ts';
import { LIFECYCLE } from '../../../../src/model/events.ts';
import { openSystemCalls } from '../../../../src/native/system-calls.ts';
import type { DomainApi } from '../../../../src/rpc/server/domain-api.ts';
import { writeElement } from '../../../../src/xml/engine/write.ts';
import { cfgOf, FakeXl } from '../../../support/hosts/fake-xl.ts';
import { STREAM } from '../../../support/libxl/fake-xen.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

let folder: string;
let etc: string;
let xl: FakeXl;
let host: XlHost;
let told: string[];
let logged: string[];

const emit = (ref: DomainRef, event: object) => {
  const [name = '?'] = Object.entries(LIFECYCLE).find(([, each]) => each === event) ?? [];
  told.push(`${ref.name} ${name}`);
};

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xl-host-'));
  etc = join(folder, 'etc');
  await mkdir(etc);
  await mkdir(join(folder, 'save'));
  xl = new FakeXl();
  told = [];
  logged = [];
  const { pipe } = await openSystemCalls();
  const unused = async (): Promise<never> => {
    throw new Error('not asked here');
  };
  host = new XlHost({
    xl,
    reader: new LibxlReader(xl.startHelper),
    toolstack: {
      ...{ checkDomainSnapshotSave: unused, domainSnapshotSave: unused, domainSnapshotRecover: unused },
      ...{ domainHold: unused, hostMemory: unused, qmpSocketOf: unused },
      readXenstore: async (path) => (path.endsWith('/console/vnc-port') ? '5901' : undefined),
      pipe,
    },
    monitors: new Monitors(folder),
    monitorsLeave: true,
    watch: () => ({ [Symbol.dispose]: () => {} }),
    configFolders: [etc],
    saveFolder: join(folder, 'save'),
    events: { emit, expect: () => ({ [Symbol.dispose]: () => {} }) },
    log: (text) => logged.push(text),
  });
});

afterEach(async () => {
  await host[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const file = (name: string) => join(etc, `${name}.cfg`);
const configure = (name: string, uuid?: string) => writeFile(file(name), cfgOf(name, '/images/a.qcow2', uuid));
const api = (): DomainApi => host.domainApi;
const refOf = async (name: string): Promise<DomainRef> => {
  const found = (await api().domains()).find(({ ref }) => ref.name === name);
  if (!found) throw new Error(`no domain ${name}`);
  return found.ref;
};
const shown = async () =>
  (await api().domains()).map(({ ref, state, persistent }) => `${ref.name} ${ref.id} ${state} ${persistent}`);

describe('domains', () => {
  test('are those that run and those that files configure', async () => {
    await configure('off');
    await configure('on', UUID);
    await api().create(await refOf('on'), { paused: false });
    xl.run({ c_info: { type: 'hvm', name: 'other', uuid: UUID.replaceAll('6', '7') }, b_info: {} }, true);
    expect(await shown()).toEqual([
      'Domain-0 0 running false',
      'on 1 running true',
      'other 2 paused false',
      'off -1 shutoff true',
    ]);
    expect(await api().domain(await refOf('on'))).toMatchObject({
      osType: 'xenpvh',
      memoryKib: 4096n,
      vcpus: 1,
      cpuTime: 7n,
    });
  });

  test('have the UUID of their file, else one made of the name: the same whether they run or not', async () => {
    await configure('with', UUID);
    await configure('without');
    expect(await refOf('with')).toMatchObject({ uuid: UUID });
    expect(await refOf('without')).toMatchObject({ uuid: uuidOfName('without') });
    xl.run({ c_info: { type: 'pvh', name: 'without', uuid: '11111111-1111-4111-8111-111111111111' }, b_info: {} });
    expect(await refOf('without')).toMatchObject({ uuid: uuidOfName('without'), id: 1 });
    expect(await api().xmlDesc(await refOf('without'), 0)).toMatch(`<uuid>${uuidOfName('without')}</uuid>`);
  });

  test('show the port of their VNC server while they run', async () => {
    const vnc = { enable: 'True', listen: '127.0.0.1' };
    xl.run({ c_info: { type: 'hvm', name: 'vnc', uuid: UUID }, b_info: { 'type.hvm': { vnc } } });
    expect(await api().xmlDesc(await refOf('vnc'), 0)).toMatch(
      /<domain type='xen' id='1'>.*<graphics type='vnc' port='5901'/s,
    );
  });

  test.each([
    ['that xl cannot read', async () => writeFile(file('bad'), 'name=')],
    [
      'that others can write',
      async () => {
        await configure('bad');
        await chmod(file('bad'), 0o646);
      },
    ],
    [
      'that its group can write',
      async () => {
        await configure('bad');
        await chmod(file('bad'), 0o664);
      },
    ],
    [
      'that belongs to another user',
      async () => {
        await configure('bad');
        await chown(file('bad'), 65534, 65534);
      },
    ],
  ])('a file %s is reported once, and left out', async (_, write) => {
    await configure('good');
    await write();
    await api().domains();
    expect(await shown()).toEqual(['Domain-0 0 running false', 'good -1 shutoff true']);
    expect(logged).toEqual([expect.stringContaining(file('bad'))]);
  });

  test('other files of the folder, and folders in it, configure nothing', async () => {
    await configure('vm');
    await writeFile(join(etc, 'vm.cfg~'), cfgOf('backup', '/images/a.qcow2'));
    await mkdir(file('folder'));
    expect(await shown()).toEqual(['Domain-0 0 running false', 'vm -1 shutoff true']);
    expect(logged).toEqual([]);
  });

  test('a file of which xl prints something else than a configuration is left out', async () => {
    await configure('vm');
    xl.ask = async () => 'Parsing config from vm.cfg';
    expect(await shown()).toEqual(['Domain-0 0 running false']);
    expect(logged).toEqual([expect.stringContaining(`xl cannot read '${file('vm')}'`)]);
  });

  test('two files of one name are refused at the start, with both paths', async () => {
    await configure('twice');
    await writeFile(file('copy'), cfgOf('twice', '/images/b.qcow2'));
    await expect(api().create(await refOf('twice'), { paused: false })).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(/more than one file configures it: '.*copy\.cfg', '.*twice\.cfg'/),
    });
    expect(xl.calls).toEqual([]);
  });
});

describe('what clients ask for', () => {
  test('is carried out by xl, under the UUID that clients know', async () => {
    await configure('vm');
    const ref = await api().create(await refOf('vm'), { paused: true });
    await api().resume(ref);
    await api().suspend(ref);
    await api().reboot(ref);
    await api().destroy(ref);
    expect(xl.calls).toEqual([
      `create -q -p ${file('vm')} uuid="${uuidOfName('vm')}"`,
      ...['unpause 1', 'pause 1', 'reboot -F 1', 'destroy 1'],
    ]);
    expect(told).toEqual([
      ...['vm STARTED_BOOTED', 'vm SUSPENDED_PAUSED', 'vm RESUMED_UNPAUSED', 'vm SUSPENDED_PAUSED'],
      'vm STOPPED_DESTROYED',
    ]);
  });

  test('is refused for Domain-0, for a domain that is off, and to change what files configure', async () => {
    await configure('vm');
    const off = await refOf('vm');
    await expect(api().destroy(off)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(/domain is not running/),
    });
    await expect(api().shutdown(await refOf('Domain-0'))).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
    for (const change of [api().define(''), api().undefine(off), api().rename(off, 'x'), api().createXML('')]) {
      await expect(change).rejects.toMatchObject({
        code: 'OPERATION_UNSUPPORTED',
        message: expect.stringMatching(/files in \/etc\/xen/),
      });
    }
    expect(xl.calls).toEqual([]);
  });

  test('a guest that xendomains has saved is not booted: its older memory would come back to newer disks', async () => {
    await configure('vm');
    await writeFile(join(folder, 'save/vm'), '');
    await expect(api().create(await refOf('vm'), { paused: false })).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(/xendomains has saved it in '.*save\/vm'; to continue it: xl restore /),
    });
    expect(xl.calls).toEqual([]);
  });

  test('guests that end, and files that come, change and go, are events', async () => {
    await api().domains();
    await configure('vm');
    const id = xl.run({ c_info: { type: 'pvh', name: 'vm', uuid: UUID }, b_info: {} });
    await api().domains();
    await writeFile(file('vm'), cfgOf('vm', '/images/b.qcow2'));
    xl.set(id, { shutdown: true, shutdown_reason: 'poweroff' });
    await api().domains();
    xl.guests.delete(id);
    await rm(file('vm'));
    await api().domains();
    expect(told).toEqual([
      ...['vm DEFINED_ADDED', 'vm STARTED_BOOTED', 'vm DEFINED_UPDATED'],
      ...['vm STOPPED_SHUTDOWN', 'vm UNDEFINED_REMOVED'],
    ]);
  });
});

describe('a revert', () => {
  const definition = async (name: string) => {
    const domain = await host.lookup(await refOf(name));
    return { domain, definition: await host.definition(domain, 'live') };
  };

  const image = async (name: string, path = join(folder, 's1.save')) => {
    const { definition: saved } = await definition(name);
    const partial = await PartialMemoryImage.create(path, writeElement(saved.element));
    await partial.append(STREAM);
    await partial.finish(await tieOf('s1', []));
    return path;
  };

  test('ends the guest by xl and restores it by xl, from the header that xl writes and the stream of the image', async () => {
    await configure('vm', UUID);
    await api().create(await refOf('vm'), { paused: false });
    const { domain, definition: saved } = await definition('vm');
    const path = await image('vm');
    await host.checkRestore(domain, { path, name: 's1', disks: [] }, saved);
    await writeFile(join(folder, 'save/vm'), '');
    told.length = 0;
    await host.destroy(domain);
    expect(await shown()).toEqual(['Domain-0 0 running false', 'vm -1 shutoff true']);
    expect(await host.lookup(domain.ref)).toMatchObject({ managedSave: true });
    await host.restore(domain, path, { paused: false, definition: saved });
    expect(xl.calls.slice(1)).toEqual(['destroy 1', 'restore /dev/stdin']);
    const given = xl.restored as Buffer;
    expect(given.toString('latin1', 0, 32)).toBe('Xen saved domain, xl format\n \0 \r');
    expect([32, 36, 40].map((at) => given.readUInt32LE(at))).toEqual([0x01020304, 3, 0]);
    expect(given.readUInt32LE(44)).toBe(given.readUInt32LE(48) + 4);
    expect(given.subarray(52 + given.readUInt32LE(48))).toEqual(STREAM);
    expect(told).toEqual(['vm STOPPED_FROM_SNAPSHOT', 'vm STARTED_FROM_SNAPSHOT', 'vm RESUMED_FROM_SNAPSHOT']);
    expect(await api().domain(domain.ref)).toMatchObject({ state: 'running', reason: 4, ref: { id: 2 } });
    // What xendomains would have restored later is older.
    expect(await readdir(join(folder, 'save'))).toEqual([]);
    expect(await host.lookup({ ...domain.ref, id: 2 })).not.toHaveProperty('managedSave');
  });

  test("says what xl says if xl does not restore, and leaves no reader of the image's pipe", async () => {
    await configure('vm', UUID);
    await api().create(await refOf('vm'), { paused: false });
    const { domain, definition: saved } = await definition('vm');
    const path = await image('vm');
    xl.failure = new LibvirtError('OPERATION_FAILED', "Failed to restore domain 'vm' with xl: no memory");
    const pipes = async () => {
      const files = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''));
      return (await Promise.all(files)).filter((target) => target.startsWith('pipe:')).length;
    };
    const before = await pipes();
    await expect(host.restore(domain, path, { paused: true, definition: saved })).rejects.toThrow('no memory');
    expect(await pipes()).toBe(before);
  });

  test('says so if the image cannot be read to its end, whatever xl made of it', async () => {
    await configure('vm', UUID);
    await api().create(await refOf('vm'), { paused: false });
    const { domain, definition: saved } = await definition('vm');
    const path = await image('vm');
    xl.change = async () => renameSync(path, join(folder, 'away'));
    const restoring = host.restore(domain, path, { paused: true, definition: saved });
    await expect(restoring).rejects.toThrow(`cannot read memory image '${path}'`);
  });

  test('waits until a guest that xl has destroyed is gone, and does not wait for ever', async () => {
    await configure('vm', UUID);
    await api().create(await refOf('vm'), { paused: false });
    const { domain } = await definition('vm');
    xl.change = async () => {};
    let now = performance.now();
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => {
      now += 25_000;
      return now;
    });
    await expect(host.destroy(domain)).rejects.toMatchObject({ code: 'OPERATION_TIMEOUT' });
    clock.mockRestore();
    xl.change = async () => void setTimeout(() => xl.guests.delete(domain.ref.id), 20);
    await host.destroy(domain);
    expect(await shown()).toEqual(['Domain-0 0 running false', 'vm -1 shutoff true']);
  });

  test('to a state that is booted drops what xendomains has saved', async () => {
    await configure('vm', UUID);
    await writeFile(join(folder, 'save/vm'), '');
    const { domain, definition: saved } = await definition('vm');
    await host.start(domain, { paused: true, definition: saved });
    expect(await shown()).toEqual(['Domain-0 0 running false', 'vm 1 paused true']);
    expect(await readdir(join(folder, 'save'))).toEqual([]);
  });

  test('a snapshot that has no configuration for xl is refused while the guest runs', async () => {
    await configure('vm', UUID);
    const { domain, definition: saved } = await definition('vm');
    const path = await image('vm');
    const without = {
      ...saved,
      element: {
        ...saved.element,
        children: saved.element.children.filter((child) => typeof child === 'string' || child.name !== 'metadata'),
      },
    };
    await expect(host.checkRestore(domain, { path, name: 's1', disks: [] }, without)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(/taken behind libvirtd/),
    });
  });

  test('to a state that is booted needs the file, with the disks of the snapshot', async () => {
    await configure('vm', UUID);
    const { domain, definition: saved } = await definition('vm');
    const check = (images = saved.images) => host.checkMemory(domain, { ...saved, images });
    await check();
    await expect(check(new Map())).rejects.toThrow("disk 'xvda' is on '/images/a.qcow2' there, and was on no image");
    const more = new Map([...saved.images, ['xvdb', { path: '/images/c.qcow2', format: 'qcow2' }]]);
    await expect(check(more)).rejects.toThrow("disk 'xvdb' is on no image there, and was on '/images/c.qcow2'");
    await writeFile(file('vm'), cfgOf('vm', '/images/b.qcow2', UUID));
    await expect(check()).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(
        /has changed since the snapshot: disk 'xvda' is on '\/images\/b.qcow2' there, and was on '\/images\/a.qcow2'/,
      ),
    });
    await host.define(saved);
    expect(logged).toEqual([expect.stringContaining("disk 'xvda' is on '/images/b.qcow2' there")]);
    await rename(file('vm'), join(folder, 'vm.cfg'));
    xl.run({ c_info: { type: 'pvh', name: 'vm', uuid: UUID }, b_info: {} });
    await expect(check()).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringMatching(/no file in \/etc\/xen/),
    });
  });

  test('no overlay is made: the file goes on naming the image below', async () => {
    await configure('vm');
    const domain = await host.lookup(await refOf('vm'));
    await expect(host.checkSetDisks(domain)).rejects.toMatchObject({
      code: 'OPERATION_UNSUPPORTED',
      message: expect.stringMatching(/take an internal snapshot/),
    });
  });
});
