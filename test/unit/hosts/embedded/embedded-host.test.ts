import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { OfflineImages } from '../../../../src/disks/offline-snapshots.ts';
import { EmbeddedHost } from '../../../../src/hosts/embedded/embedded-host.ts';
import { readMemoryImage } from '../../../../src/memory/image-file.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';
import { domainName, parseDomain } from '../../../../src/xml/domain/domain.ts';
import { snapshotsIn } from '../../../support/disks/images.ts';
import {
  checkImage,
  definitionOf,
  disk,
  embeddedFolders,
  embeddedHost,
  hasPattern,
  newImage,
  quietJob,
  recorder,
  scratchFolder,
  writePattern,
} from '../../../support/hosts/embedded.ts';
import { until } from '../../../support/until.ts';

const UUID = '11111111-2222-3333-4444-555555555555';
const images = new OfflineImages();

const imageOf = ({ memory_path, disks }: { memory_path: string; disks?: readonly LibxlDiskSnapshot[] }) => ({
  path: memory_path,
  name: 's1',
  disks: disks ?? [],
});

/** The embedded host with a running domain `two`, which has two images. */
async function twoDisks() {
  const embedded = await embeddedHost();
  const { folder, api } = embedded;
  const [a, b] = [join(folder, 'a.qcow2'), join(folder, 'b.qcow2')];
  await newImage(a);
  await newImage(b);
  const ref = await api.define(definitionOf('two', UUID, { xvda: a, xvdb: b }));
  await api.create(ref, { paused: false });
  const disks = [disk('xvda', a), disk('xvdb', b)];
  return { ...embedded, a, b, disks, args: { memory: true, memory_path: join(folder, 's1.save'), disks } };
}

describe('at the start', () => {
  test("there is libvirt's domain test, persistent, running, with a disk and a guest that counts", async () => {
    await using embedded = await embeddedHost();
    const { host, stateDir, told } = embedded;
    const domain = await embedded.domain('test');
    expect(domain).toEqual({
      ref: { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 },
      state: 'running',
      persistent: true,
    });
    expect(told).toEqual(['test DEFINED_ADDED', 'test STARTED_BOOTED']);
    expect((await host.definition(domain, 'live')).disks).toMatchObject([
      { target: 'xvda', format: 'qcow2', path: join(stateDir, 'test.qcow2') },
    ]);
    await until(async () => (await embedded.counter(domain)) > 2n);
  });

  test('the disk keeps what an earlier run left in it', async () => {
    await using folder = await scratchFolder();
    const image = join(folder.path, 'test.qcow2');
    const events = recorder([]);
    await (await EmbeddedHost.open({ ...embeddedFolders(folder.path), events }))[Symbol.asyncDispose]();
    await writePattern(image, 'qcow2', 0x11);
    await (await EmbeddedHost.open({ ...embeddedFolders(folder.path), events }))[Symbol.asyncDispose]();
    expect(await hasPattern(image, 'qcow2', 0x11)).toBe(true);
    expect(await readdir(folder.path)).toEqual(['test.qcow2']);
  });

  test('a folder that cannot be made is refused by name', async () => {
    await using folder = await scratchFolder();
    const file = join(folder.path, 'file');
    await writeFile(file, '');
    await expect(
      EmbeddedHost.open({ ...embeddedFolders(join(file, 'state')), events: recorder([]) }),
    ).rejects.toMatchObject({
      code: 'SYSTEM_ERROR',
      message: expect.stringMatching(/^cannot create state directory '.*\/file\/state': Not a directory$/i),
    });
  });

  test('a folder whose name is too long for sockets is refused with the way out', async () => {
    await using folder = await scratchFolder();
    const stateDir = join(folder.path, 'x'.repeat(100));
    await expect(EmbeddedHost.open({ ...embeddedFolders(stateDir), events: recorder([]) })).rejects.toThrow(
      /choose a shorter --state-dir$/,
    );
  });
});

describe('saving and restoring', () => {
  test('memory and both disks are back at the moment of the snapshot, and go on from there', async () => {
    await using embedded = await twoDisks();
    const { host, a, b, args, disks, told } = embedded;
    const before = await embedded.domain('two');
    for (const vdev of ['xvda', 'xvdb']) await writePattern(embedded.liveDisk(before, vdev), 'raw', 0x11);
    await until(async () => (await embedded.counter(before)) > 2n);
    await host.checkSave(before, args);
    const job = quietJob();
    const snapshot = await host.save(before, 's1', args, job);
    expect(job.phases).toEqual(['saving', 'paused', 'disks-done']);
    expect(snapshot).toMatchObject({
      name: 's1',
      memory: true,
      memory_path: args.memory_path,
      disks: [
        { name: 's1', path: a, node: 'xvda-qcow2' },
        { name: 's1', path: b, node: 'xvdb-qcow2' },
      ],
    });
    const saved = await embedded.counter(before);
    for (const vdev of ['xvda', 'xvdb']) await writePattern(embedded.liveDisk(before, vdev), 'raw', 0x22);
    await until(async () => (await embedded.counter(before)) > saved + 5n);

    told.length = 0;
    await images.check('s1', disks, new Set(disks.flatMap(({ disk: { pdev_path } }) => pdev_path ?? [])));
    const definition = await host.definition(before, 'live');
    await host.checkRestore(before, imageOf(args), definition);
    await host.destroy(before);
    await images.apply('s1', disks);
    await host.restore(before, args.memory_path, { paused: true, definition });
    const after = await embedded.domain('two');
    expect(after).toMatchObject({ state: 'paused', persistent: true });
    expect(after.ref.id).toBeGreaterThan(before.ref.id);
    expect((await embedded.counter(after)) - saved).toBeLessThanOrEqual(0n);
    expect(told).toEqual(['STOPPED', 'STARTED', 'SUSPENDED'].map((event) => `two ${event}_FROM_SNAPSHOT`));
    for (const vdev of ['xvda', 'xvdb']) {
      expect(await hasPattern(embedded.liveDisk(after, vdev), 'raw', 0x11)).toBe(true);
    }
    await embedded.api.resume(after.ref);
    await until(async () => (await embedded.counter(after)) > saved);
    await host.destroy(after);
    for (const image of [a, b]) await checkImage(image);
  });

  test('the image has the header that virsh restore takes, and the domain in it', async () => {
    await using embedded = await twoDisks();
    const { host, args } = embedded;
    const domain = await embedded.domain('two');
    const { memory_bytes } = await host.save(domain, 's1', args, quietJob());
    const image = await readMemoryImage(args.memory_path);
    expect(image.bytes).toBe(memory_bytes);
    const definition = parseDomain(image.domainXml);
    expect(domainName(definition)).toBe('two');
    expect(definition.attributes.id).toBe(String(domain.ref.id));
  });

  test('a paused guest is saved, and stays paused', async () => {
    await using embedded = await twoDisks();
    const { host, api, a, args } = embedded;
    const domain = await embedded.domain('two');
    await api.suspend(domain.ref);
    const counter = await embedded.counter(domain);
    await host.save(domain, 's1', args, quietJob());
    expect(await snapshotsIn(a)).toEqual(['s1']);
    await sleep(250);
    expect((await embedded.domain('two')).state).toBe('paused');
    expect(await embedded.counter(domain)).toBe(counter);
  });

  test('a domain that is off is refused', async () => {
    await using embedded = await twoDisks();
    const { host, api, args } = embedded;
    const domain = await embedded.domain('two');
    await api.destroy(domain.ref);
    const refused = { code: 'OPERATION_INVALID', detail: 'domain is not running' };
    await expect(host.checkSave(domain, args)).rejects.toMatchObject(refused);
    await expect(host.save(domain, 's1', args, quietJob())).rejects.toMatchObject(refused);
  });

  test('disks alone, and memory alone where no disk can be opened', async () => {
    await using embedded = await twoDisks();
    const { host, api, a, disks, folder } = embedded;
    const two = await embedded.domain('two');
    const onlyDisks = await host.save(two, 'd1', { memory: false, disks }, quietJob());
    expect(onlyDisks).not.toHaveProperty('memory_path');
    expect(await snapshotsIn(a)).toEqual(['d1']);
    const ref = await api.createXML(definitionOf('none', UUID.replaceAll('5', '6'), { xvda: '/nonexistent.qcow2' }));
    const none = await host.lookup(ref);
    const memory_path = join(folder, 'none.save');
    await host.save(none, 's1', { memory_path }, quietJob());
    await host.checkRestore(none, { path: memory_path, name: 's1', disks: [] }, await host.definition(none, 'live'));
    const missing = { memory_path, disks: [disk('xvda', '/nonexistent.qcow2')] };
    await expect(host.checkSave(none, missing)).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      detail: "disk 'xvda' has no image that could be opened when the domain started",
    });
  });

  test('a name that one image has already: no file, no snapshot, the guest counts', async () => {
    await using embedded = await twoDisks();
    const { host, a, b, args, disks, folder } = embedded;
    const domain = await embedded.domain('two');
    await host.save(domain, 's1', { memory: false, disks: disks.slice(1) }, quietJob());
    await expect(host.checkSave(domain, args)).rejects.toThrow("disk 'xvdb' already has an internal snapshot 's1'");
    await expect(host.save(domain, 's1', args, quietJob())).rejects.toThrow(`'s1' in '${b}'`);
    expect(await snapshotsIn(a)).toEqual([]);
    expect(await snapshotsIn(b)).toEqual(['s1']);
    expect((await readdir(folder)).toSorted()).toEqual(['a.qcow2', 'b.qcow2', 'state']);
    const counter = await embedded.counter(domain);
    await until(async () => (await embedded.counter(domain)) > counter);
  });

  test.each(['saving', 'paused', 'disks-done'])('a failure at phase %s leaves nothing behind', async (failing) => {
    await using embedded = await twoDisks();
    const { host, a, b, args, folder } = embedded;
    const domain = await embedded.domain('two');
    const phase = async (name: string) => {
      if (name === failing) throw new Error('no room for the journal');
    };
    await expect(host.save(domain, 's1', args, { ...quietJob(), phase })).rejects.toThrow('no room for the journal');
    expect([...(await snapshotsIn(a)), ...(await snapshotsIn(b))]).toEqual([]);
    expect((await readdir(folder)).toSorted()).toEqual(['a.qcow2', 'b.qcow2', 'state']);
    const counter = await embedded.counter(domain);
    await until(async () => (await embedded.counter(domain)) > counter);
  });

  test('a cancelled save leaves nothing behind', async () => {
    await using embedded = await twoDisks();
    const { host, a, args, folder } = embedded;
    const domain = await embedded.domain('two');
    const abort = new AbortController();
    const job = quietJob(abort.signal);
    const phase = async (name: string) => {
      if (name === 'paused') abort.abort();
    };
    await expect(host.save(domain, 's1', args, { ...job, phase })).rejects.toMatchObject({ code: 'OPERATION_ABORTED' });
    expect(await snapshotsIn(a)).toEqual([]);
    expect((await readdir(folder)).toSorted()).toEqual(['a.qcow2', 'b.qcow2', 'state']);
  });

  test('a folder that is not there is an error with its name, and the guest counts', async () => {
    await using embedded = await twoDisks();
    const { host, a, args } = embedded;
    const domain = await embedded.domain('two');
    const memory_path = '/nonexistent/s1.save';
    await expect(host.save(domain, 's1', { ...args, memory_path }, quietJob())).rejects.toThrow(memory_path);
    expect(await snapshotsIn(a)).toEqual([]);
    expect((await embedded.domain('two')).state).toBe('running');
  });

  test('an external snapshot is refused by its disk', async () => {
    await using embedded = await twoDisks();
    const disks = embedded.disks.map((each) => ({ ...each, external: true }));
    await expect(embedded.host.checkSave(await embedded.domain('two'), { disks })).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
    });
  });

  test('disk snapshots are deleted from the live images', async () => {
    await using embedded = await twoDisks();
    const { host, a, b, disks } = embedded;
    const domain = await embedded.domain('two');
    await host.save(domain, 's1', { memory: false, disks }, quietJob());
    await host.deleteDiskSnapshots(domain, 's1', disks);
    await host.deleteDiskSnapshots(domain, 's1', disks);
    expect([...(await snapshotsIn(a)), ...(await snapshotsIn(b))]).toEqual([]);
  });
});

describe('a memory image that cannot be restored is refused while the old guest runs', () => {
  async function refusal(change: (image: Buffer) => Buffer) {
    await using embedded = await twoDisks();
    const { host, args } = embedded;
    const domain = await embedded.domain('two');
    await host.save(domain, 's1', { memory_path: args.memory_path }, quietJob());
    await writeFile(args.memory_path, change(await readFile(args.memory_path)));
    const check = host.checkRestore(domain, imageOf(args), await host.definition(domain, 'live'));
    await expect(check).rejects.toMatchObject({ name: 'LibvirtError' });
    const text = await check.catch((error: Error) => error.message);
    expect(text).toContain(args.memory_path);
    expect((await embedded.domain('two')).state).toBe('running');
    return text;
  }

  /** Changes one byte of the last mebibyte. */
  const flip = (image: Buffer) => {
    image.writeUInt8(image.readUInt8(image.length - 9) ^ 1, image.length - 9);
    return image;
  };

  test('one bit of RAM changed', async () => {
    expect(await refusal(flip)).toMatch(/is damaged: the digest of its RAM is wrong$/);
  });

  test('cut short by one byte', async () => {
    expect(await refusal((image) => image.subarray(0, -1))).toMatch(
      /has 4194303 bytes of RAM where 4194304 were saved$/,
    );
  });

  test('only the header', async () => {
    expect(await refusal((image) => image.subarray(0, 64 + 65536))).toMatch(/is cut short$/);
  });

  test('a stream of somebody else', async () => {
    expect(await refusal((image) => image.fill('LibxlFmt', 64 + 65536))).toMatch(/is not of the embedded host$/);
  });

  test('not an image at all', async () => {
    expect(await refusal(() => Buffer.alloc(1000))).toMatch(/^invalid argument: image magic is incorrect/);
  });

  test('of another domain', async () => {
    await using embedded = await twoDisks();
    const { host, args } = embedded;
    await host.save(await embedded.domain('two'), 's1', args, quietJob());
    const other = await embedded.domain('test');
    await expect(host.checkRestore(other, imageOf(args), await host.definition(other, 'live'))).rejects.toThrow(
      /^operation failed: cannot restore domain 'test' uuid 6695.* which belongs to domain 'two' uuid 1111/,
    );
  });
});

describe('what a revert also does', () => {
  test('start boots from the persistent definition, paused if asked', async () => {
    await using embedded = await twoDisks();
    const { host, told } = embedded;
    const domain = await embedded.domain('two');
    await host.destroy(domain);
    told.length = 0;
    await host.define(parseDefinition(definitionOf('two', UUID)));
    await host.start(domain, { paused: true, definition: await host.definition(domain, 'persistent') });
    expect(told).toEqual(['STARTED', 'SUSPENDED'].map((event) => `two ${event}_FROM_SNAPSHOT`));
    const after = await embedded.domain('two');
    expect(after.state).toBe('paused');
    expect((await host.definition(after, 'live')).disks).toEqual([]);
  });

  test('the live definition and the persistent one are kept apart', async () => {
    await using embedded = await twoDisks();
    const { host } = embedded;
    const domain = await embedded.domain('two');
    await host.define(parseDefinition(definitionOf('two', UUID)));
    expect((await host.definition(domain, 'live')).disks).toHaveLength(2);
    expect((await host.definition(domain, 'persistent')).disks).toHaveLength(0);
    expect((await host.definition(domain, 'live')).element.attributes).toEqual({ type: 'xen' });
  });

  test('a transient domain survives its destruction, and is not reported gone', async () => {
    await using embedded = await embeddedHost();
    const { host, api, folder, told } = embedded;
    const gone: string[] = [];
    host.onGone(({ name }) => gone.push(name));
    const domain = await host.lookup(await api.createXML(definitionOf('t', UUID)));
    const path = join(folder, 't.save');
    await host.save(domain, 's1', { memory_path: path }, quietJob());
    const definition = await host.definition(domain, 'live');
    await host.destroy(domain);
    await host.restore(domain, path, { paused: false, definition });
    expect(told.slice(-2)).toEqual(['t STARTED_FROM_SNAPSHOT', 't RESUMED_FROM_SNAPSHOT']);
    expect(await host.lookup(domain.ref)).toMatchObject({ state: 'running', persistent: false });
    expect(gone).toEqual([]);
    await api.destroy(domain.ref);
    expect(gone).toEqual(['t']);
    await expect(host.lookup(domain.ref)).rejects.toThrow(
      `Domain not found: no domain with matching uuid '${UUID}' (t)`,
    );
  });

  test('a restore over a running domain is refused, and that one runs on', async () => {
    await using embedded = await twoDisks();
    const { host, args } = embedded;
    const domain = await embedded.domain('two');
    await host.save(domain, 's1', args, quietJob());
    await expect(
      host.restore(domain, args.memory_path, { paused: false, definition: await host.definition(domain, 'live') }),
    ).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
    });
    await writePattern(embedded.liveDisk(domain, 'xvda'), 'raw', 0x33);
  });
});
