/** cockpit's way to a Xen host: libvirt-dbus as Debian ships it, by its own user, under a real systemd and polkitd. */

import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { asOnXen, noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TEST_MS = 240_000;
const XLSNAP = `node ${PACKAGE_THERE}/dist/cli/main.js --quiet`;

/** bob, in group libvirt, is logged in to cockpit; alice is in no group. */
const USERS = `
  useradd --system --no-create-home alice
  useradd --system --no-create-home --groups libvirt bob`;

const domainXml = (type: string, name: string) =>
  `<domain type='${type}'><name>${name}</name><memory>65536</memory><os><type>hvm</type></os></domain>`;

/** The test driver forgets its domains when nobody is connected: at each restart of xlsnapd. */
const START_GUEST = 'virsh -q -c xen:///system define /run/guest.xml; virsh -q -c xen:///system start guest';

type Json = { readonly data: readonly unknown[] };

describeUnless(noSystemdHost, 'a host with cockpit', () => {
  let host: SystemdHost;

  beforeAll(async () => {
    host = await SystemdHost.boot(ROOT);
    await host.must(`${USERS}
      printf '%s' "${domainXml('test', 'guest')}" > /run/guest.xml
      printf '%s' "${domainXml('qemu', 'other')}" > /run/other.xml`);
  }, TEST_MS);
  afterAll(async () => await host?.[Symbol.asyncDispose]());

  const virsh = async (user: string, words: string) => {
    const { stdout, stderr } = await host.run(...SystemdHost.as(user), 'sh', '-c', `virsh -q ${words} < /dev/null`);
    return (stdout || stderr).trim();
  };

  /** Calls a method of libvirt-dbus as bob. Returns its result, empty if it has none, or its error. */
  const call = async (path: string, method: string, signature = '', ...args: readonly string[]): Promise<unknown> => {
    const dot = method.lastIndexOf('.');
    const target = ['org.libvirt', path, `org.libvirt.${method.slice(0, dot)}`, method.slice(dot + 1)];
    const words = ['busctl', '--json=short', 'call', ...target, signature, ...args];
    const { stdout, stderr } = await host.run(...SystemdHost.as('bob'), ...words);
    return stdout === '' ? stderr : (JSON.parse(stdout) as Json).data[0];
  };

  /** The calls of cockpit-machines' snapshot tab (src/libvirtApi/snapshot.ts), in their order. */
  const snapshotsByCockpit = async (connect: string): Promise<void> => {
    const domain = (await call(connect, 'Connect.DomainLookupByName', 's', 'guest')) as string;
    const names = async () => {
      const paths = (await call(domain, 'Domain.ListDomainSnapshots', 'u', '0')) as readonly string[];
      const documents = await Promise.all(
        paths.map(async (path) => await call(path, 'DomainSnapshot.GetXMLDesc', 'u', '0')),
      );
      const current = await Promise.all(
        paths.map(async (path) => await call(path, 'DomainSnapshot.IsCurrent', 'u', '0')),
      );
      return documents.map((text, index) => [/<name>(.*)<\/name>/.exec(String(text))?.[1], current[index]]);
    };
    const create = async (name: string) => {
      const xml = `<domainsnapshot><name>${name}</name><description>by cockpit</description></domainsnapshot>`;
      return await call(domain, 'Domain.SnapshotCreateXML', 'su', xml, '0');
    };
    const byName = async (name: string) =>
      (await call(domain, 'Domain.SnapshotLookupByName', 'su', name, '0')) as string;

    expect(await names()).toEqual([]);
    expect(await create('one')).toMatch(/^\/org\/libvirt\/.*_one$/);
    expect(await create('two')).toMatch(/_two$/);
    expect((await names()).toSorted()).toEqual([
      ['one', false],
      ['two', true],
    ]);
    expect(await call(await byName('one'), 'DomainSnapshot.Revert', 'u', '0')).toBe('');
    expect((await names()).toSorted()).toEqual([
      ['one', true],
      ['two', false],
    ]);
    for (const name of ['two', 'one']) {
      expect(await call(await byName(name), 'DomainSnapshot.Delete', 'u', '0')).toBe('');
    }
    expect(await names()).toEqual([]);
  };

  test(
    'has snapshots by libvirt-dbus after a plain install, though it was running before',
    async () => {
      await host.must('virsh -q -c qemu:///system define /run/other.xml');
      expect(await call('/org/libvirt/QEMU', 'Connect.ListDomains', 'u', '0')).toHaveLength(1);
      await host.must(`${XLSNAP} install; ${asOnXen('--upstream-uri test:///default')}`);
      expect(await host.must(`${XLSNAP} install`)).toMatch(
        /^ran kill \d+ \(libvirt-dbus, which connects to xlsnapd with its next call\)$/m,
      );
      await host.must(START_GUEST);
      await snapshotsByCockpit('/org/libvirt/Xen');
      expect(await host.must('ps -C libvirt-dbus -o user=')).toMatch(/^libvirt/);
      // qemu:///system is libvirtd's as before.
      expect(await virsh('root', '-c qemu:///system list --all --name')).toBe('other');
    },
    TEST_MS,
  );

  test(
    'is refused qemu:///system for Xen while the qemu driver has a domain, by its name, and nothing is changed',
    async () => {
      const { status, stderr } = await host.run('sh', '-c', `${XLSNAP} install --cockpit`);
      expect(status).toBe(1);
      expect(stderr).toBe(
        'error: operation forbidden: --cockpit is for hosts that do not use the qemu driver: ' +
          "domain 'other' of the qemu driver is defined (/etc/libvirt/qemu/other.xml). If it is not needed, run: " +
          "virsh -c 'qemu+unix:///system?socket=/run/libvirt/libvirt-sock' undefine --domain other",
      );
      expect(await host.must('ls -d /run/libvirt/virtqemud-sock* 2> /dev/null || true')).toBe('');
      expect(await host.must(stderr.slice(stderr.indexOf('virsh -c')))).toBe("Domain 'other' has been undefined");
    },
    TEST_MS,
  );

  test(
    'after install --cockpit has Xen behind qemu:///system, for whom libvirtd lets in',
    async () => {
      expect(await call('/org/libvirt/QEMU', 'Connect.ListDomains', 'u', '0')).toEqual([]);
      const said = await host.must(`${XLSNAP} install --cockpit`);
      expect(said).toContain('note: clients of qemu:///system reach the Xen host from now on');
      await host.must(START_GUEST);
      await snapshotsByCockpit('/org/libvirt/QEMU');

      const uri = '-c qemu:///system';
      expect(await virsh('bob', `${uri} snapshot-create-as guest s1`)).toBe('');
      expect(await virsh('bob', `${uri} snapshot-revert guest s1`)).toBe('');
      expect(await virsh('alice', `${uri} -r snapshot-list guest --name`)).toBe('s1');
      expect(await virsh('alice', `${uri} -r snapshot-delete guest s1`)).toContain('read only access');
      expect(await virsh('alice', `${uri} list`)).toContain('authentication unavailable: no polkit agent available');
      expect(await virsh('root', `-c xen:///system snapshot-list guest --name`)).toBe('s1');
      expect(await virsh('bob', `${uri} snapshot-delete guest s1`)).toBe('');
    },
    TEST_MS,
  );

  test(
    'keeps it over an update and a restart, and has it no more after uninstall',
    async () => {
      expect(await host.must(`${XLSNAP} install`)).toContain('as it is: /etc/systemd/system/xlsnapd-cockpit.socket');
      await host.must('systemctl restart xlsnapd.service');
      expect(await virsh('bob', '-c qemu:///system list --name --all')).toBe('test');

      await host.must(`${XLSNAP} uninstall`);
      expect(await host.must('ls -d /run/libvirt/virt{qemu,xen}d-sock* 2> /dev/null || true')).toBe('');
      expect(await host.must('find /etc/systemd/system -name "*cockpit*" -not -path "*.d*"')).toBe('');
      expect(await virsh('bob', '-c qemu:///system list --all')).toBe('');
      expect(await call('/org/libvirt/QEMU', 'Connect.ListDomains', 'u', '0')).toEqual([]);
    },
    TEST_MS,
  );
});
