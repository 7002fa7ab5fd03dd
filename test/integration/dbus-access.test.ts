/** Who may: on a bus with the system bus' rules and our policy file, and where the bus lets everybody through to us. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { PrivateBus } from '../support/daemons/private-bus.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { describeUnless } from '../support/describe-unless.ts';

/** Our policy file's rules, as `xlsnap install` would write them for this group. */
const POLICY = readFileSync(resolve(import.meta.dirname, '../../packaging/org.xlsnap.conf'), 'utf8')
  .replaceAll('@GROUP@', 'libvirt')
  .replace(/^.*<busconfig>|<\/busconfig>\s*$/gs, '');

/** What the system bus allows without anybody's policy. */
const SYSTEM_RULES = `
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>`;

const NOBODY = 65_534;
const LIBVIRT = Number(/^libvirt:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))?.[1] ?? Number.NaN);

/** Runs a command as somebody else: root alone can. */
const as = (gid: number): readonly string[] => ['setpriv', `--reuid=${NOBODY}`, `--regid=${gid}`, '--clear-groups'];

const USERS = [
  ['root', [], true],
  ['a member of group libvirt', as(LIBVIRT), true],
  ['somebody else', as(NOBODY), false],
] as const;

const listed = (bus: PrivateBus, prefix: readonly string[]): Promise<string> =>
  bus.call('org.xlsnap', '/org/libvirt/Test', 'org.libvirt.Connect.ListDomains', ['uint32:0'], prefix);

/** Why nobody else can be asked here; undefined where they can. */
const alone =
  process.getuid?.() !== 0
    ? 'becoming another user needs root'
    : Number.isNaN(LIBVIRT)
      ? 'there is no group libvirt'
      : undefined;

describeUnless(alone, 'with the policy file', () => {
  test('root and group libvirt are let through, and hear; others neither', async () => {
    await using bus = await PrivateBus.start({ configuration: SYSTEM_RULES + POLICY });
    await using daemon = await Xlsnapd.start({ args: ['--dbus', bus.address] });
    await bus.waitFor('org.xlsnap');
    await bus.waitFor('org.libvirt');
    using member = await bus.monitor('org.xlsnap', as(LIBVIRT));
    using stranger = await bus.monitor('org.xlsnap', as(NOBODY));
    for (const [who, prefix, allowed] of USERS) {
      const said = await listed(bus, prefix);
      expect({ who, said }).toEqual({
        who,
        said: expect.stringMatching(allowed ? /^array/ : /AccessDenied: Rejected/),
      });
    }
    await daemon.ok('snapshot-create-as', 'test', 'secret');
    await member.heard("'create', 'secret', 'completed'");
    // What comes after it on the stranger's connection has come.
    await daemon.stop();
    await stranger.heard('does not have an owner');
    expect(stranger.signals).toEqual([]);
  }, 60_000);

  test('nobody but root can take the names', async () => {
    await using bus = await PrivateBus.start({ configuration: SYSTEM_RULES + POLICY });
    for (const name of ['org.xlsnap', 'org.libvirt']) {
      for (const [who, prefix] of USERS) {
        const request = [`string:${name}`, 'uint32:4'];
        const said = await bus.call('org.freedesktop.DBus', '/', 'org.freedesktop.DBus.RequestName', request, prefix);
        const expected = who === 'root' ? /^uint32 1$/ : /^Error org.freedesktop.DBus.Error.AccessDenied/;
        expect({ who, said }).toEqual({ who, said: expect.stringMatching(expected) });
      }
    }
  }, 30_000);
});

describeUnless(alone, 'where the bus lets everybody through', () => {
  test("the daemon's own rule is that of its socket: group and mode", async () => {
    await using bus = await PrivateBus.start();
    await using daemon = await Xlsnapd.start({ args: ['--dbus', bus.address] });
    await bus.waitFor('org.xlsnap');
    for (const [who, prefix, allowed] of USERS) {
      const said = await listed(bus, prefix);
      const refused = `Error org.freedesktop.DBus.Error.AccessDenied: user ${NOBODY} may not connect`;
      expect({ who, said }).toEqual({ who, said: expect.stringContaining(allowed ? 'array [' : refused) });
    }
    // Nothing is told, and nothing done, for one who is refused.
    const [, , [, nobody]] = USERS;
    const path = '/org/libvirt/Test/domain/_6695eb01_f6a4_8304_79aa_97f2502e193f';
    const create = ['string:<domainsnapshot><name>x</name></domainsnapshot>', 'uint32:0'];
    for (const [method, args] of [
      ['org.libvirt.Domain.SnapshotCreateXML', create],
      ['org.freedesktop.DBus.Introspectable.Introspect', []],
      ['org.freedesktop.DBus.Properties.GetAll', ['string:org.libvirt.Domain']],
    ] as const) {
      expect(await bus.call('org.xlsnap', path, method, args, nobody)).toContain('AccessDenied');
    }
    expect(await daemon.ok('snapshot-list', 'test', '--name')).toBe('');
  }, 60_000);

  test('a socket for everybody is a D-Bus front for everybody', async () => {
    await using bus = await PrivateBus.start();
    await using _daemon = await Xlsnapd.start({ args: ['--dbus', bus.address, '--mode', '0666'] });
    await bus.waitFor('org.xlsnap');
    expect(await listed(bus, as(NOBODY))).toMatch(/^array/);
  }, 60_000);
});

test('without the policy file the daemon serves its sockets, and says what is missing', async () => {
  await using bus = await PrivateBus.start({ configuration: SYSTEM_RULES });
  await using daemon = await Xlsnapd.start({ args: ['--dbus', bus.address] });
  expect(await daemon.ok('list', '--name')).toBe('test');
  await daemon.logged('(install the bus policy org.xlsnap.conf, or switch this off with --dbus none)');
}, 60_000);
