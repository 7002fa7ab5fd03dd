/** Who may enter, before and after `xlsnap install`: a real systemd, a real polkitd, libvirtd with the qemu driver. */

import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const TEST_MS = 240_000;

/** Conditions that ask for Xen are met, and qemu:///system has its part. */
const AS_ON_XEN = `
  node ${PACKAGE_THERE}/dist/cli/main.js --quiet install > /dev/null
  cd /etc/systemd/system
  for unit in xlsnapd.service xlsnapd.socket xlsnapd-ro.socket; do
    mkdir -p $unit.d && printf '[Unit]\nConditionPathExists=\n' > $unit.d/test.conf
  done
  line=$(grep ^ExecStart= xlsnapd.service)
  printf '[Service]\nExecStart=\n%s\n' "$line --mechanism libvirt --upstream-uri qemu:///system" >> xlsnapd.service.d/test.conf`;

const INSTALL = `node ${PACKAGE_THERE}/dist/cli/main.js --quiet install`;

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
  const as = async (who: Who, words: string): Promise<string> => {
    const { stdout, stderr } = await host.run(
      'setpriv',
      '--reuid',
      who,
      '--regid',
      who,
      '--init-groups',
      'sh',
      '-c',
      `virsh -q ${words} < /dev/null`,
    );
    return (stdout || stderr.replace(/^error: failed to connect[^\n]*\n/, '')).trim();
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
    'judges the snapshot calls, and those that are passed on, as libvirtd with access_drivers = [ "polkit" ]',
    async () => {
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

      const onBus = (who: Who, member: string, ...words: readonly string[]) =>
        host.run(
          'setpriv',
          '--reuid',
          who,
          '--regid',
          who,
          '--init-groups',
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
});
