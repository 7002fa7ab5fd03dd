/** `<domain>` of libxl's JSON: against libvirt's own pairs, read the other way round, and back. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { libxlDeviceDisk } from '../../../../src/model/device-disk.ts';
import { childAt, childElements, textAt, type XmlElement } from '../../../../src/model/element.ts';
import { withDefaults } from '../../../../src/xml/domain/defaults.ts';
import { domainDisks } from '../../../../src/xml/domain/disks.ts';
import { currentMemoryKib, domainMemoryKib, parseDomain } from '../../../../src/xml/domain/domain.ts';
import { LIBVIRT_SCHEMA, validateSnapshot } from '../../../../src/xml/engine/validate.ts';
import { configOfDomainXml, domainXmlOfConfig } from '../../../../src/xml/xl/domain.ts';

/** libvirt's own pairs: a domain, and the libxl_domain_config that its driver makes of it. */
const PAIRS = resolve(import.meta.dirname, '../../../../../shared/corpus/libvirt-9.0.0/tests/libxlxml2domconfigdata');
const pairs = readdirSync(PAIRS).filter((file) => file.endsWith('.json'));
const configOf = (file: string) => JSON.parse(readFileSync(join(PAIRS, file), 'utf8'));
const theirs = (file: string) => parseDomain(readFileSync(join(PAIRS, file.replace('.json', '.xml')), 'utf8'));

const devices = (domain: XmlElement, name: string) => childElements(childAt(domain, 'devices') ?? domain, name);
const attribute = (of: XmlElement | undefined, name: string) => of?.attributes[name];

/** What libvirt's XML and ours both have to say, whatever the order and the defaults. */
function facts(domain: XmlElement) {
  const text = (...path: readonly string[]) => textAt(domain, ...path);
  return {
    names: [text('name'), text('uuid')],
    memory: [domainMemoryKib(domain), currentMemoryKib(domain)],
    vcpus: text('vcpu'),
    shares: text('cputune', 'shares'),
    boots: ['bootloader', 'kernel', 'initrd'].map((name) => text(name) ?? text('os', name)),
    slic: text('os', 'acpi', 'table'),
    osType: text('os', 'type'),
    order: childElements(childAt(domain, 'os') ?? domain, 'boot').map(({ attributes }) => attributes.dev),
    features: childElements(childAt(domain, 'features') ?? domain)
      .map(({ name }) => name)
      .filter((name) => ['acpi', 'apic', 'pae', 'hap'].includes(name))
      .toSorted(),
    timers: childElements(childAt(domain, 'clock') ?? domain, 'timer').map(({ attributes }) => attributes),
    actions: ['on_poweroff', 'on_reboot', 'on_crash'].map((name) => text(name)),
    emulator: text('devices', 'emulator'),
    nics: devices(domain, 'interface')
      .filter(({ attributes }) => attributes.type !== 'hostdev')
      .map((nic) => [
        attribute(nic, 'type'),
        attribute(childAt(nic, 'mac'), 'address'),
        attribute(childAt(nic, 'source'), 'bridge'),
        attribute(childAt(nic, 'script'), 'path'),
        childElements(nic, 'ip').map((ip) => ip.attributes),
      ]),
    screens: devices(domain, 'graphics').map(({ attributes }) => [attributes.type, attributes.listen]),
    hostdevs: devices(domain, 'hostdev').map((each) => childAt(each, 'source', 'address')?.attributes),
  };
}

/** What libvirt adds or does not ask for, by pair. */
const DIFFERENT: Readonly<Record<string, object>> = {
  // libvirt's driver starts a PV guest without a kernel by pygrub.
  'multiple-ip.json': { boots: ['pygrub', undefined, undefined] },
  // A hostdev interface is a PCI device to libxl, and one of two.
  'moredevs-hvm.json': { hostdevs: ['0x10', '0x08'].map((slot) => expect.objectContaining({ slot })) },
};

describe.each(pairs)('%s', (file) => {
  const config = configOf(file);
  const xml = domainXmlOfConfig(config);

  test('describes the guest as libvirt does', () => {
    const expected = facts(withDefaults(theirs(file)));
    // libvirt lets an HVM guest boot from its disk unless the definition says something else.
    const order = config.c_info.type === 'hvm' && expected.order.length === 0 ? ['hd'] : expected.order;
    expect(facts(parseDomain(xml))).toEqual({ ...expected, order, ...DIFFERENT[file] });
  });

  test('has disks of which libvirt’s driver would make the same', () => {
    expect(domainDisks(parseDomain(xml)).map(libxlDeviceDisk)).toEqual(config.disks ?? []);
  });

  test('gives the whole config back', () => {
    expect(configOfDomainXml(xml)).toEqual(config);
  });

  test('is what libvirt’s schema allows', async () => {
    const snapshot = `<domainsnapshot><name>s</name>${xml}</domainsnapshot>`;
    await expect(validateSnapshot(snapshot, LIBVIRT_SCHEMA)).resolves.toBeUndefined();
  });
});

const HVM = {
  c_info: { type: 'hvm', name: 'a', uuid: '2147d599-9cc6-c0dc-92ab-4064b5446e9b' },
  b_info: {
    ...{ max_vcpus: 4, avail_vcpus: [0, 1], max_memkb: 8192, target_memkb: 4096, video_memkb: -1 },
    'type.hvm': {
      boot: 'dcn',
      vnc: { enable: 'True', listen: '::1', passwd: 'secret', display: 3, findunused: 'False' },
      spice: { enable: 'True', port: 5910, passwd: 'other', agent_mouse: 'True', clipboard_sharing: 'False' },
      serial_list: ['pty', 'null'],
    },
  },
  disks: [
    { pdev_path: '/srv/a', vdev: 'xvda', format: 'qcow2', readwrite: 1, discard_enable: 'True', script: 'block-x' },
    { pdev_path: '/dev/vg/b', vdev: 'xvdb', format: 'raw', readwrite: 1, direct_io_safe: true },
    { vdev: 'hdc', format: 'empty', removable: 1, is_cdrom: 1 },
  ],
  on_crash: 'coredump_restart',
};

test('a guest of xl: balloon, hotplugged vcpus, boot order, screens, what follows a crash', () => {
  const xml = domainXmlOfConfig(HVM, 7);
  const domain = parseDomain(xml);
  expect(domain.attributes).toEqual({ type: 'xen', id: '7' });
  expect(childAt(domain, 'vcpu')).toMatchObject({ attributes: { current: '2' }, children: ['4'] });
  expect(facts(domain)).toMatchObject({
    memory: [8192, 4096],
    order: ['cdrom', 'hd', 'network'],
    screens: [
      ['vnc', '::1'],
      ['spice', undefined],
    ],
    actions: ['destroy', 'destroy', 'coredump-restart'],
  });
  expect(xml).toContain("<graphics type='vnc' port='5903' autoport='no' listen='::1' passwd='secret'>");
  expect(xml).toContain("<source dev='/dev/vg/b'/>");
});

test.each([
  [{ findunused: 'True', display: 3 }, "port='-1' autoport='yes'"],
  [{}, "port='-1' autoport='yes'"],
  [{ findunused: 'False' }, "port='5900' autoport='no'"],
  [{ findunused: 'False', display: 3 }, "port='5903' autoport='no'"],
])('the port of a screen %j, of PV as of HVM', (vnc, port) => {
  const on = { enable: 'True', ...vnc };
  const pv = { c_info: { type: 'pv', name: 'a' }, b_info: { max_memkb: 1 }, vfbs: [{ devid: 0, vnc: on }] };
  const hvm = { c_info: { type: 'hvm', name: 'a' }, b_info: { max_memkb: 1, 'type.hvm': { vnc: on } } };
  for (const config of [pv, hvm]) expect(domainXmlOfConfig(config)).toContain(`<graphics type='vnc' ${port}>`);
});

test('passwords are in <graphics> alone, which is shown only with --security-info', () => {
  const xml = domainXmlOfConfig(HVM);
  expect(xml.match(/secret|other/g)).toEqual(['secret', 'other']);
  expect(configOfDomainXml(xml)).toEqual(HVM);
  const shown = xml.replace(/ passwd='[^']*'/g, '');
  expect(JSON.stringify(configOfDomainXml(shown))).toBe(
    JSON.stringify(configOfDomainXml(shown)).replace(/passwd/g, ''),
  );
});

test('disks that the definition changes are changed in the config; a disk that it leaves alone keeps what libxl alone knows', () => {
  const xml = domainXmlOfConfig(HVM).replace("file='/srv/a'", "file='/srv/a.s1'");
  const config = configOfDomainXml(xml) as typeof HVM;
  expect(config.disks.slice(1)).toEqual(HVM.disks.slice(1));
  expect(config.disks[0]).toMatchObject({ pdev_path: '/srv/a.s1', format: 'qcow2', script: 'block-x' });
  const without = domainXmlOfConfig(HVM).replace(/<disk type='block'.*?<\/disk>/s, '');
  expect((configOfDomainXml(without) as typeof HVM).disks.map(({ vdev }) => vdev)).toEqual(['xvda', 'hdc']);
});

test('any config comes back, whatever its texts hold', () => {
  const words = fc.string({ unit: 'binary' });
  const name = words.filter((each) => each !== '');
  const path = fc.stringMatching(/^\/[a-z/]{1,8}$/);
  const disk = fc.record({
    ...{ vdev: fc.stringMatching(/^(xv|h|s)d[a-z]$/), pdev_path: path, readwrite: fc.constant(1) },
    format: fc.constantFrom('raw', 'qcow2', 'vhd', 'qed'),
  });
  const config = fc.record({
    c_info: fc.record({ type: fc.constantFrom('hvm', 'pv', 'pvh'), name: fc.stringMatching(/^[a-z<&]+$/) }),
    b_info: fc.record({
      ...{ max_memkb: fc.nat(), unknown: fc.dictionary(name, words), number: fc.double({ noNaN: true }) },
    }),
    disks: fc.uniqueArray(disk, { minLength: 1, selector: ({ vdev }) => vdev }),
  });
  fc.assert(
    fc.property(config, (given) => {
      const json = JSON.parse(JSON.stringify(given));
      expect(configOfDomainXml(domainXmlOfConfig(json))).toEqual(json);
    }),
    { numRuns: 200 },
  );
});

test('what is no config, and a definition that keeps none, is refused', () => {
  const message = (call: () => unknown): string => {
    try {
      call();
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('it was taken');
  };
  expect(message(() => domainXmlOfConfig({ domid: 1 }))).toContain('the config is not a libxl_domain_config');
  const kept = (json: string) =>
    `<domain type='xen'><name>a</name><metadata><x:config xmlns:x='http://xlsnap.org/schemas/domain/xl/1.0'>${json}</x:config></metadata></domain>`;
  expect(message(() => configOfDomainXml(kept('{')))).toContain("the <xl:config> of domain 'a' is malformed");
  expect(message(() => configOfDomainXml(kept('[]')))).toContain('is not a libxl_domain_config');
  expect(message(() => configOfDomainXml("<domain type='xen'><name>a</name></domain>"))).toBe(
    "XML error: domain 'a' has no <xl:config> in its <metadata>",
  );
});
