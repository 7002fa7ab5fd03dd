import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { XML } from '../../../../src/model/flags.ts';
import { definitionOf, embeddedHost, newImage } from '../../../support/hosts/embedded.ts';

const UUID = '11111111-2222-3333-4444-555555555555';

describe('life of a domain', () => {
  test('define, create, suspend, resume, shutdown, undefine: states, reasons, events', async () => {
    await using embedded = await embeddedHost();
    const { api, told, host } = embedded;
    told.length = 0;
    const gone: string[] = [];
    host.onGone(({ name }) => gone.push(name));
    const state = async () => {
      const { state, reason } = await api.domain(ref);
      return [state, reason];
    };
    const ref = await api.define(definitionOf('d', UUID));
    expect(ref).toEqual({ name: 'd', uuid: UUID, id: -1 });
    expect(await state()).toEqual(['shutoff', 0]);
    expect(await api.create(ref, { paused: false })).toEqual({ name: 'd', uuid: UUID, id: 2 });
    expect(await state()).toEqual(['running', 1]);
    await api.suspend(ref);
    await api.suspend(ref);
    expect(await state()).toEqual(['paused', 1]);
    await api.resume(ref);
    await api.resume(ref);
    expect(await state()).toEqual(['running', 5]);
    await api.shutdown(ref);
    expect(await state()).toEqual(['shutoff', 1]);
    await api.create(ref, { paused: true });
    expect(await state()).toEqual(['paused', 1]);
    await api.destroy(ref);
    expect(await state()).toEqual(['shutoff', 2]);
    await api.undefine(ref);
    expect(gone).toEqual(['d']);
    await expect(api.domain(ref)).rejects.toThrow('Domain not found: no domain with matching uuid');
    expect(told).toEqual(
      [
        ...['DEFINED_ADDED', 'STARTED_BOOTED', 'SUSPENDED_PAUSED', 'RESUMED_UNPAUSED', 'STOPPED_SHUTDOWN'],
        ...['STARTED_BOOTED', 'SUSPENDED_PAUSED', 'STOPPED_DESTROYED', 'UNDEFINED_REMOVED'],
      ].map((event) => `d ${event}`),
    );
  });

  test('a paused guest does not count, a resumed one goes on', async () => {
    await using embedded = await embeddedHost();
    const { api } = embedded;
    const domain = await embedded.domain('test');
    await api.suspend(domain.ref);
    const counter = await embedded.counter(domain);
    await sleep(250);
    expect(await embedded.counter(domain)).toBe(counter);
    await api.resume(domain.ref);
    await sleep(350);
    expect(await embedded.counter(domain)).toBeGreaterThan(counter);
  });

  test('disks that are not there, block devices and empty drives keep no domain from starting', async () => {
    await using embedded = await embeddedHost();
    const { api } = embedded;
    const disks = `<devices>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/nonexistent/a'/><target dev='xvda' bus='xen'/></disk>
      <disk type='file' device='disk'><source file='/nonexistent/b.img'/><target dev='xvdb' bus='xen'/></disk>
      <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>
      <disk type='block' device='disk'><source dev='/dev/nosuchvg/lv0'/><target dev='xvdd' bus='xen'/></disk>
      <disk type='network' device='disk'><source protocol='nbd' name='x'><host name='h'/></source><target dev='xvde'/></disk>`;
    const ref = await api.createXML(definitionOf('d', UUID).replace('<devices>', disks));
    expect((await api.domain(ref)).state).toBe('running');
  });

  test('an ended domain leaves neither process nor file', async () => {
    await using embedded = await embeddedHost();
    const { api, stateDir } = embedded;
    const { ref } = await embedded.domain('test');
    await api.destroy(ref);
    expect(await readdir(stateDir)).toEqual(['test.qcow2']);
  });

  test('a transient domain is gone when it ends', async () => {
    await using embedded = await embeddedHost();
    const { api } = embedded;
    const ref = await api.createXML(definitionOf('t', UUID));
    expect(await api.domain(ref)).toMatchObject({ state: 'running', persistent: false, vcpus: 2, maxMemoryKib: 4096n });
    await expect(api.undefine(ref)).rejects.toThrow('cannot undefine transient domain');
    await api.destroy(ref);
    expect((await api.domains()).map(({ ref: { name } }) => name)).toEqual(['test']);
  });

  test('an undefined running domain becomes transient; defined again, persistent', async () => {
    await using embedded = await embeddedHost();
    const { api, told } = embedded;
    const { ref } = await embedded.domain('test');
    await api.undefine(ref);
    expect(await api.domain(ref)).toMatchObject({ state: 'running', persistent: false });
    await api.define(await api.xmlDesc(ref, XML.SECURE));
    expect(await api.domain(ref)).toMatchObject({ state: 'running', persistent: true });
    expect(told.slice(-2)).toEqual(['test UNDEFINED_REMOVED', 'test DEFINED_ADDED']);
  });

  test('calls at the same time are done one after the other', async () => {
    await using embedded = await embeddedHost();
    const { api } = embedded;
    const { ref } = await embedded.domain('test');
    const results = await Promise.allSettled([
      api.destroy(ref),
      api.create(ref, { paused: false }),
      api.create(ref, { paused: false }),
      api.destroy(ref),
      api.destroy(ref),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'rejected'],
    ]);
  });
});

describe('refusals', () => {
  let embedded: Awaited<ReturnType<typeof embeddedHost>>;
  beforeAll(async () => {
    embedded = await embeddedHost();
  });
  afterAll(() => embedded[Symbol.asyncDispose]());

  test.each(['destroy', 'shutdown', 'suspend', 'resume'] as const)('%s of a domain that is off', async (call) => {
    const ref = await embedded.api.define(definitionOf('off', UUID.replaceAll('5', '7')));
    await expect(embedded.api[call](ref)).rejects.toThrow('Requested operation is not valid: domain is not running');
  });

  test('create of a domain that runs', async () => {
    const { ref } = await embedded.domain('test');
    await expect(embedded.api.create(ref, { paused: false })).rejects.toThrow('Domain is already running');
    await expect(embedded.api.createXML(await embedded.api.xmlDesc(ref, 0))).rejects.toThrow(
      "domain is already active as 'test'",
    );
  });

  test.each([
    ["<domain type='xen'><memory>1</memory><os><type>hvm</type></os></domain>", 'missing name information'],
    ['<domain><name>x</name></domain>', 'internal error: missing domain type attribute'],
    [definitionOf('a/b', UUID), "XML error: name a/b cannot contain '/'"],
    [definitionOf('d', 'zz'), 'internal error: malformed uuid element'],
    ["<domain type='frog'><name>x</name></domain>", 'unsupported configuration: invalid domain type frog'],
    [
      "<domain type='xen'><name>x</name><os><type>hvm</type></os></domain>",
      'XML error: Memory size must be specified via <memory> or in the <numa> configuration',
    ],
    ["<domain type='xen'><name>x</name><memory>1</memory></domain>", 'XML error: an os <type> must be specified'],
    [
      definitionOf('test', UUID),
      "operation failed: domain 'test' already exists with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
    ],
    [
      definitionOf('d', '6695eb01-f6a4-8304-79aa-97f2502e193f'),
      "operation failed: domain 'test' is already defined with uuid 6695eb01-f6a4-8304-79aa-97f2502e193f",
    ],
  ])("a definition in libvirt's words: %s", async (xml, message) => {
    await expect(embedded.api.define(xml)).rejects.toMatchObject({ name: 'LibvirtError', message });
    await expect(embedded.api.createXML(xml)).rejects.toMatchObject({ name: 'LibvirtError', message });
    expect((await embedded.api.domains()).map(({ ref: { name } }) => name)).not.toContain('d');
  });

  test('an image that another domain writes to, and a transient domain of it does not stay', async () => {
    const { api, folder } = embedded;
    const image = await newImage(join(folder, 'a.qcow2'));
    await api.createXML(definitionOf('one', UUID, { xvda: image }));
    await expect(api.createXML(definitionOf('two', UUID.replaceAll('5', '6'), { xvda: image }))).rejects.toThrow(
      /^operation failed: cannot start the device model: .*Failed to get "write" lock/,
    );
    expect((await api.domains()).map(({ ref: { name } }) => name)).not.toContain('two');
  });
});

describe('definitions', () => {
  test('a live one has the id, an inactive one has not', async () => {
    await using embedded = await embeddedHost();
    const { ref } = await embedded.domain('test');
    expect(await embedded.api.xmlDesc(ref, 0)).toMatch(/^<domain type='xen' id='1'>\n {2}<name>test<\/name>\n/);
    expect(await embedded.api.xmlDesc(ref, XML.INACTIVE)).toMatch(/^<domain type='xen'>\n {2}<name>test<\/name>\n/);
    expect(await embedded.api.xmlDesc(ref, 0)).toMatch(/[^\n]\n<\/domain>\n$/);
  });

  test('passwords are shown to those who ask with SECURE', async () => {
    await using embedded = await embeddedHost();
    const { api } = embedded;
    const graphics = "<devices><graphics type='vnc' port='-1' autoport='yes' passwd='secret'/>";
    const ref = await api.define(definitionOf('d', UUID).replace('<devices>', graphics));
    expect(await api.xmlDesc(ref, 0)).not.toContain('secret');
    expect(await api.xmlDesc(ref, XML.SECURE)).toContain("passwd='secret'");
  });

  test('one without a UUID gets one, after its name', async () => {
    await using embedded = await embeddedHost();
    const ref = await embedded.api.define(definitionOf('d', UUID).replace(/<uuid>.*<\/uuid>/, ''));
    expect(ref.uuid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(await embedded.api.xmlDesc(ref, 0)).toContain(`<name>d</name>\n  <uuid>${ref.uuid}</uuid>\n`);
  });

  test('a new one for a running domain counts from its next start', async () => {
    await using embedded = await embeddedHost();
    const { api, told } = embedded;
    const ref = await api.define(definitionOf('d', UUID));
    await api.create(ref, { paused: false });
    await api.define(definitionOf('d', UUID).replace('<vcpu>2<', '<vcpu>3<'));
    expect(told.at(-1)).toBe('d DEFINED_UPDATED');
    expect((await api.domain(ref)).vcpus).toBe(2);
    await api.destroy(ref);
    expect((await api.domain(ref)).vcpus).toBe(3);
  });
});
