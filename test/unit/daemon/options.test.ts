import { describe, expect, test } from '@jest/globals';
import { type DaemonOptions, parseOptions } from '../../../src/daemon/options.ts';

const parse = (...argv: readonly string[]): DaemonOptions => {
  const options = parseOptions(argv, (path) => path === '/usr/sbin/libvirtd');
  if (typeof options === 'string') throw new Error(options);
  return options;
};

describe('defaults', () => {
  test('serve the system Xen where libvirt clients and administrators look', () => {
    expect(parse()).toEqual({
      connect: 'xen:///system',
      owner: 'libvirt',
      configDirs: [],
      upstream: '/run/libvirt/libvirt-sock',
      upstreamUri: undefined,
      auth: 'auto',
      upstreamConfig: undefined,
      mechanism: 'auto',
      listen: '/run/libvirt/virtxend-sock',
      listenReadOnly: '/run/libvirt/virtxend-sock-ro',
      snapshotDir: '/var/lib/libvirt/libxl/snapshot',
      memoryDir: '/var/lib/libvirt/libxl/snapshot-memory',
      stateDir: '/var/lib/xlsnap',
      group: undefined,
      mode: undefined,
      maxClients: 1_000,
      dbus: 'system',
      logLevel: 'info',
    });
  });

  test('of the embedded host need no upstream and lie in folders of their own', () => {
    const options = parse('--connect', 'test:///default');
    expect(options.upstream).toBeUndefined();
    for (const dir of [options.snapshotDir, options.memoryDir, options.stateDir]) expect(dir).toContain('xlsnap/test');
  });

  test("the read-only socket is the other's name with -ro", () => {
    expect(parse('--listen', '/tmp/x').listenReadOnly).toBe('/tmp/x-ro');
    expect(parse('--listen', '/tmp/x', '--listen-ro', '/tmp/y').listenReadOnly).toBe('/tmp/y');
  });
});

test('an upstream can stand behind the test URI, too', () => {
  expect(parse('-c', 'test:///default', '--upstream', '/tmp/sock').upstream).toBe('/tmp/sock');
});

describe('the owner of the domains', () => {
  const ownerOn = (...files: readonly string[]) => {
    const options = parseOptions([], (path) => files.includes(path));
    return typeof options === 'string' ? options : options.owner;
  };

  test('is xl if there is no libvirtd: not if one is installed that does not run yet', () => {
    expect(ownerOn('/usr/sbin/xl')).toBe('xl');
    expect(ownerOn('/usr/sbin/xl', '/usr/sbin/libvirtd')).toBe('libvirt');
    expect(ownerOn('/usr/sbin/xl', '/usr/sbin/virtxend')).toBe('libvirt');
    expect(ownerOn('/usr/sbin/xl', '/run/libvirt/libvirt-sock')).toBe('libvirt');
    expect(ownerOn()).toBe('libvirt');
  });

  test('is xl if that is asked for, with files in other folders, too', () => {
    const asked = parse('--upstream', 'xl', '--config-dir', '/srv/guests', '--config-dir', '/srv/more');
    expect(asked).toMatchObject({ owner: 'xl', upstream: undefined, configDirs: ['/srv/guests', '/srv/more'] });
    expect(() => parse('-c', 'test:///default', '--upstream', 'xl')).toThrow(
      'xl has the domains of xen:///system, not of test:///default',
    );
  });
});

test.each([
  ['help', ['--help']],
  ['help', ['-h']],
  ['version', ['--version']],
])('%s', (expected, argv) => {
  expect(parseOptions(argv)).toBe(expected);
});

test.each([
  [['-c', 'test:///default'], undefined],
  [['--dbus', 'none'], undefined],
  [['-c', 'test:///default', '--dbus', 'session'], 'session'],
  [['--dbus', 'unix:path=/run/bus'], 'unix:path=/run/bus'],
])('%j chooses the bus', (argv, bus) => {
  expect(parse(...argv).dbus).toBe(bus);
});

test.each([
  [['--mode', '660'], 0o660],
  [['--mode', '0777'], 0o777],
])('%j is octal', (argv, mode) => {
  expect(parse(...argv).mode).toBe(mode);
});

test.each([
  [['--bogus'], "Unknown option '--bogus'"],
  [['stray'], "Unexpected argument 'stray'"],
  [['--connect', 'qemu:///system'], "cannot serve 'qemu:///system'"],
  [['--upstream', 'none'], 'xen:///system needs a libvirtd'],
  [['--mode', '8'], '--mode takes three octal digits'],
  [['--dbus', 'tcp:host=far'], '--dbus takes system, session, none or an address'],
  [['--log-level', 'chatty'], '--log-level takes error, warning, info, debug'],
])('%j is refused in words', (argv, text) => {
  expect(() => parseOptions(argv)).toThrow(text);
});
