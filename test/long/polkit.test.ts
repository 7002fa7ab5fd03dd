/** Who may enter, before and after `xlsnap install`: a real systemd, a real polkitd, libvirtd with the qemu driver. */

import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { asOnXen, noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TEST_MS = 240_000;

const INSTALL = `node ${PACKAGE_THERE}/dist/cli/main.js --quiet install`;

/** qemu:///system has Xen's part. */
const AS_ON_XEN = `${INSTALL} > /dev/null; ${asOnXen('--mechanism libvirt --upstream-uri qemu:///system')}`;

/** alice is in no group, bob in libvirt's. */
const USERS = `
  useradd --system --no-create-home alice
  useradd --system --no-create-home --groups libvirt bob`;

/** bob may look, but neither at secrets nor change anything. */
const ACL_RULE = `cat > /etc/polkit-1/rules.d/10-bob.rules <<'RULE'
polkit.addRule(function (action, subject) {
  if (action.id.indexOf('org.libvirt.api.') != 0) return polkit.Result.NOT_HANDLED;
  if (subject.user == 'libvirtdbus') return polkit.Result.YES;
  if (subject.user != 'bob') return polkit.Result.NOT_HANDLED;
  var looks = ['getattr', 'read', 'search-domains'].indexOf(action.id.split('.').pop()) >= 0;
  if (action.id.indexOf('org.libvirt.api.domain.') == 0 && action.lookup('domain_name') != 'guest') looks = false;
  return looks ? polkit.Result.YES : polkit.Result.NO;
});
RULE`;

const GUEST = `<domain type='qemu'><name>guest</name><memory>65536</memory><os><type>hvm</type></os><devices>
  <disk type='file'><driver name='qemu' type='qcow2'/><source file='/run/guest.qcow2'/><target dev='hda'/></disk></devices></domain>`;

const DENIED_AT_SOCKET = "error: Failed to connect socket to 'SOCKET': Permission denied";

const socketDropIn = (unit: string, ...lines: readonly string[]) => `
  mkdir -p /etc/systemd/system/${unit}.socket.d
  printf '[Socket]\n${lines.join('\n')}\n' > /etc/systemd/system/${unit}.socket.d/admin.conf`;

/** All at once: xlsnapd connects to libvirtd again as soon as it has ended, and a socket whose daemon runs is not opened again. */
const LIBVIRTD_AGAIN = `systemctl daemon-reload
  systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service
  systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket`;

const WHO = ['root', 'bob', 'alice', 'libvirtdbus'] as const;
type Who = (typeof WHO)[number];

describeUnless(noSystemdHost, 'a host with polkit', () => {
  let host: SystemdHost;

  beforeAll(async () => {
    host = await SystemdHost.boot(ROOT);
    await host.must(
      `${USERS}; qemu-img create -q -f qcow2 /run/guest.qcow2 1M; printf '%s' "${GUEST}" > /run/guest.xml; virsh -q -c qemu:///system define /run/guest.xml`,
    );
  }, TEST_MS);
  afterAll(async () => await host?.[Symbol.asyncDispose]());

  /** virsh's output, or its error. */
  const as = async (who: Who | 'carol', words: string): Promise<string> => {
    const { stdout, stderr } = await host.run(...SystemdHost.as(who), 'sh', '-c', `virsh -q ${words} < /dev/null`);
    const said = stderr.replace(/^error: failed to connect[^\n]*\n/, '').replace(/'\/\S*-sock(-ro)?'/, "'SOCKET'");
    return (stdout || said).trim();
  };
  const table = async (uri: string, words: string) =>
    Object.fromEntries(await Promise.all(WHO.map(async (who) => [who, await as(who, `-c ${uri} ${words}`)] as const)));

  test(
    'lets in whom libvirtd lets in, with the same words for the others',
    async () => {
      const write = await table('qemu:///system', 'list --all --name');
      const readOnly = await table('qemu:///system -r', 'list --all --name');
      const denied =
        "error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'";
      expect(write).toEqual({ root: 'guest', bob: 'guest', libvirtdbus: 'guest', alice: denied });
      expect(readOnly).toEqual({ root: 'guest', bob: 'guest', libvirtdbus: 'guest', alice: 'guest' });

      await host.must(AS_ON_XEN);
      await host.must(INSTALL);
      expect(await table('xen:///system', 'list --all --name')).toEqual(write);
      expect(await table('xen:///system -r', 'list --all --name')).toEqual(readOnly);
      expect(await as('bob', '-c xen:///system snapshot-create-as guest s1')).toBe('');
      expect(await as('alice', '-r -c xen:///system snapshot-list guest --name')).toBe('s1');
    },
    TEST_MS,
  );

  test(
    "admits those whom the administrator's drop-ins of libvirtd's sockets admit, whatever polkit would say of others",
    async () => {
      await host.must('groupadd xenadmins; useradd --system --no-create-home --groups libvirt,xenadmins carol');
      await host.must(socketDropIn('libvirtd', 'SocketMode=0660', 'SocketGroup=xenadmins'));
      await host.must(socketDropIn('libvirtd-ro', 'SocketMode=0600'));
      await host.must(LIBVIRTD_AGAIN);
      // Narrower than xlsnapd's sockets: nobody is let in until they are the same again.
      await host.must('systemctl restart xlsnapd.service');
      expect(await as('bob', '-c xen:///system list --all --name')).toContain('only root may connect to xlsnapd');
      expect(await as('alice', '-r -c xen:///system list --all --name')).toContain('only root may connect to xlsnapd');
      await host.must(INSTALL);
      for (const [who, said] of [
        ['root', 'guest'],
        ['carol', 'guest'],
        ['bob', DENIED_AT_SOCKET],
        ['alice', DENIED_AT_SOCKET],
      ] as const) {
        for (const uri of ['qemu:///system', 'xen:///system']) {
          expect([who, uri, await as(who, `-c ${uri} list --all --name`)]).toEqual([who, uri, said]);
          const readOnly = who === 'root' ? said : DENIED_AT_SOCKET;
          expect([who, uri, await as(who, `-r -c ${uri} list --all --name`)]).toEqual([who, uri, readOnly]);
        }
      }
      await host.must(`rm -r /etc/systemd/system/libvirtd.socket.d /etc/systemd/system/libvirtd-ro.socket.d
        ${LIBVIRTD_AGAIN}; ${INSTALL}`);
      expect(await as('bob', '-c xen:///system list --all --name')).toBe('guest');
    },
    TEST_MS,
  );

  test(
    "admits those whom the administrator's drop-ins of its own sockets admit, on D-Bus too, also after an update",
    async () => {
      await host.must(socketDropIn('xlsnapd', 'SocketMode=0660', 'SocketGroup=xenadmins'));
      await host.must(INSTALL);
      expect(await host.must('stat -c "%a %G" /run/libvirt/virtxend-sock')).toBe('660 xenadmins');
      expect(await as('carol', '-c xen:///system list --all --name')).toBe('guest');
      expect(await as('bob', '-c xen:///system list --all --name')).toBe(DENIED_AT_SOCKET);
      const list = ['org.xlsnap', '/org/libvirt/Xen', 'org.libvirt.Connect', 'ListDomains', 'u', '0'];
      // The daemon that the socket has just started comes to the bus a little later.
      let said = '';
      await until(async () => {
        said = (await host.run(...SystemdHost.as('carol'), 'busctl', 'call', ...list)).stderr;
        return !said.includes('was not provided');
      });
      expect(said).toBe('');
      expect((await host.run(...SystemdHost.as('bob'), 'busctl', 'call', ...list)).stderr).toMatch(/denied/i);
      await host.must(`rm -r /etc/systemd/system/xlsnapd.socket.d/admin.conf; ${INSTALL}`);
      expect(await as('bob', '-c xen:///system list --all --name')).toBe('guest');
    },
    TEST_MS,
  );

  /** What bob hears of xlsnapd on the bus while root takes a snapshot. */
  const heardByBob = async (snapshot: string): Promise<string> =>
    await host.must(`
      ${SystemdHost.as('bob').join(' ')} timeout 10 dbus-monitor --system "type='signal',sender='org.xlsnap'" > /tmp/heard 2>&1 &
      sleep 3; virsh -q -c xen:///system snapshot-create-as guest ${snapshot} > /dev/null
      virsh -q -c xen:///system snapshot-delete guest ${snapshot} > /dev/null; wait; cat /tmp/heard`);

  /** Root's client that calls for a process of this user, which is there for as long; or for none. */
  const forAnother = async (uri: string, who: Who, process: 'of its own' | 'none'): Promise<readonly string[]> => {
    const words = `/usr/bin/python3 ${PACKAGE_THERE}/test/support/clients/for_another.py ${uri} $(id -u ${who})`;
    const sleeper = `${SystemdHost.as(who).join(' ')} sleep 60 > /dev/null &`;
    const script = process === 'none' ? words : `${sleeper} ${words} $!; kill $!`;
    return (await host.must(script)).split('\n');
  };

  test(
    'judges the snapshot calls, and those that are passed on, as libvirtd with access_drivers = [ "polkit" ]',
    async () => {
      expect(await heardByBob('heard')).toContain('member=SnapshotCreated');
      await host.must(ACL_RULE);
      await host.must(`echo 'access_drivers = [ "polkit" ]' >> /etc/libvirt/libvirtd.conf
        systemctl stop xlsnapd.service; systemctl restart libvirtd.service polkit.service; systemctl start xlsnapd.service`);
      const denied = "error: access denied: 'QEMU' denied access";
      const uri = '-c xen:///system';
      expect(await as('bob', `${uri} snapshot-list guest --name`)).toBe('s1');
      expect(await as('bob', `${uri} list --all --name`)).toBe('guest');
      for (const words of [
        'snapshot-create-as guest s2',
        'snapshot-delete guest s1',
        'snapshot-revert guest s1',
        'snapshot-dumpxml guest s1 --security-info',
        'dumpxml guest --security-info',
        'undefine guest --snapshots-metadata',
        'start guest',
      ]) {
        expect({ words, said: await as('bob', `${uri} ${words}`) }).toEqual({
          words,
          said: expect.stringContaining(denied),
        });
      }
      expect(await host.must('virsh -q -c xen:///system snapshot-list guest --name')).toBe('s1');
      expect(await as('libvirtdbus', `${uri} snapshot-create-as guest s2`)).toBe('');
      expect(await heardByBob('unheard')).not.toContain('member=Snapshot');

      const onBus = (who: Who, member: string, ...words: readonly string[]) =>
        host.run(
          ...SystemdHost.as(who),
          'busctl',
          'call',
          'org.xlsnap',
          ...words.slice(0, 1),
          ...[member.slice(0, member.lastIndexOf('.')), member.slice(member.lastIndexOf('.') + 1)],
          ...words.slice(1),
        );
      const listed = await onBus('bob', 'org.libvirt.Connect.ListDomains', '/org/libvirt/Xen', 'u', '0');
      const [, path = ''] = /"([^"]+)"/.exec(listed.stdout) ?? [];
      expect(path).toMatch(/^\/org\/libvirt\/Xen\/domain\//);
      const create = ['su', '<domainsnapshot><name>s3</name></domainsnapshot>', '0'];
      expect((await onBus('bob', 'org.libvirt.Domain.SnapshotCreateXML', path, ...create)).stderr).toContain(
        "access denied: 'QEMU' denied access",
      );
      expect((await onBus('bob', 'org.libvirt.Domain.ListDomainSnapshots', path, 'u', '0')).stdout).toContain(
        'snapshot',
      );
    },
    TEST_MS,
  );

  test(
    "judges root's daemons as those for whom they call, as libvirtd does, and lets nobody else call for another",
    async () => {
      const denied = "access denied: 'QEMU' denied access";
      expect(await forAnother('xen:///system', 'bob', 'of its own')).toEqual([
        'identity: 0',
        'domains: guest',
        `start: ${denied}`,
        `snapshot: ${denied}`,
        'list: 2',
      ]);
      expect(await forAnother('qemu:///system', 'bob', 'of its own')).toEqual([
        'identity: 0',
        'domains: guest',
        `start: ${denied}`,
        expect.stringMatching(/^snapshot: /),
        expect.stringMatching(/^list: /),
      ]);
      expect(await forAnother('xen:///system', 'libvirtdbus', 'of its own')).toContain('snapshot: made');
      for (const uri of ['xen:///system', 'qemu:///system']) {
        expect(await forAnother(uri, 'bob', 'none')).toEqual(['identity: 0', `domains: ${denied}`]);
      }
      const script = `${PACKAGE_THERE}/test/support/clients/for_another.py`;
      const byBob = await host.run(...SystemdHost.as('bob'), '/usr/bin/python3', script, 'xen:///system', '0', '1');
      expect(byBob.stdout).toContain('identity: access denied: only a daemon of root may say for whom it calls');
    },
    TEST_MS,
  );
});
