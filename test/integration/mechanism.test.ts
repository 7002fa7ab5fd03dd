/**
 * xlsnapd's --mechanism before real libvirtds, with the real libxenlight and with ones that cannot be used. This machine
 * has no Xen: one libvirtd calls its test driver Xen.
 */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { runProgram, XLSNAP } from '../support/command-line.ts';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { type XenByName, xenByName } from '../support/daemons/xen-by-name.ts';
import { runXlsnapd, Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { qemuImg } from '../support/hosts/embedded.ts';
import { brokenLibrary, type Fault, REAL_SONAME } from '../support/libxl/broken-libraries.ts';

/** Each command is a program of its own, and the machine may be busy. */
const TEST_TIMEOUT_MS = 60_000;
jest.setTimeout(TEST_TIMEOUT_MS);

let libvirtd: Libvirtd;
let xen: XenByName;
let home: string;

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  xen = await xenByName(libvirtd);
  home = await folderForLibvirtd();
});

afterAll(async () => {
  await xen[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true });
});

const onXen = (mechanism: string, env = {}) =>
  Xlsnapd.start({
    home,
    connect: 'xen:///system',
    args: ['--upstream', xen.socket, '--upstream-uri', 'test:///default', '--mechanism', mechanism],
    env,
  });

/** libvirtd's own folder: libvirtd is not root here. */
const inHome = (name: string): string => join(libvirtd.directory, 'home', name);

/** The document of a domain with one disk whose file exists: a create asks whether the domain can be started again. */
async function guestDocument(): Promise<string> {
  const [disk, document] = [inHome('g.img'), join(home, 'g.xml')];
  await writeFile(disk, '');
  await writeFile(
    document,
    `<domain type='test'><name>g</name><memory>8192</memory><os><type>hvm</type></os><devices>
      <disk type='file'><source file='${disk}'/><target dev='vda'/></disk>
    </devices></domain>`,
  );
  return document;
}

const doctor = (daemon: Xlsnapd, ...words: readonly string[]) =>
  runProgram(XLSNAP, ['-c', daemon.uri, 'doctor', ...words]);

const LIBVIRT = 'snapshots of active domains go through virDomainSave and virDomainRestore: ';

test('on a Xen host whose libxl cannot be used xlsnapd serves through libvirt, and says so', async () => {
  await using daemon = await onXen('auto');
  expect(daemon.log).toMatch(
    /go through virDomainSave and virDomainRestore: libxl cannot be used: libxenlight\.so\.4\.\d+ /,
  );
  expect(daemon.log).toContain('a guest is off while its memory is written, and live snapshots are refused');
  await daemon.ok('create', await guestDocument());
  const memory = (name: string) => ['--memspec', inHome(name), '--diskspec', 'vda,snapshot=no'];
  expect(await daemon.ok('snapshot-create-as', 'g', 's1', ...memory('s1'))).toBe('Domain snapshot s1 created');
  expect(await daemon.ok('domstate', 'g')).toBe('running');
  expect(await daemon.refused('snapshot-create-as', 'g', 's2', '--live', ...memory('s2'))).toContain(
    'cannot be saved live through libvirt',
  );
  const { status, stdout } = await doctor(daemon);
  expect(stdout).toMatch(
    /^xlsnapd \S+ takes snapshots of running domains through libvirt, by save and restore: libxl /,
  );
  expect(stdout).toContain('way out: once libxl can be used, restart xlsnapd without --mechanism libvirt');
  expect(status).toBe(0);
  const [finding] = JSON.parse((await doctor(daemon, '--json')).stdout);
  expect(finding).toMatchObject({ level: 'note', problem: expect.stringContaining('libxl cannot be used') });
  await daemon.ok('snapshot-delete', 'g', 's1');
  await daemon.ok('destroy', 'g');
});

test('a revert does not end a guest that has been ballooned down since, if its memory is not to be had any more', async () => {
  await using daemon = await onXen('libvirt');
  const [disk, document] = [join(home, 'b.qcow2'), join(home, 'b.xml')];
  await qemuImg('create', '-q', '-f', 'qcow2', disk, '1M');
  await writeFile(
    document,
    `<domain type='test'><name>b</name><memory unit='GiB'>1</memory><os><type>hvm</type></os><devices>
      <disk type='file'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda'/></disk>
    </devices></domain>`,
  );
  await daemon.ok('define', document);
  await daemon.ok('snapshot-create-as', 'b', 'off');
  await daemon.ok('start', 'b');
  await daemon.ok('setmem', 'b', '512M', '--live');
  const id = await daemon.ok('domid', 'b');
  // The test driver's host has 3 MiB free, and domain 'test' has 2 GiB.
  expect(await daemon.refused('snapshot-revert', 'b', 'off', '--running')).toContain(
    "not valid: the host has too little memory for domain 'b': 1035 MiB are needed, and there are 523 MiB that it has now, " +
      "3 MiB free; to take some from domain 'test': virsh setmem test 1575936 --live",
  );
  expect(await daemon.ok('domid', 'b')).toBe(id);
  await daemon.ok('snapshot-revert', 'b', 'off');
  await daemon.ok('undefine', 'b', '--snapshots-metadata');
});

describe('a libxenlight that', () => {
  test.each<[Fault, string]>([
    ['damaged', `${REAL_SONAME} cannot be used: `],
    ['without a dependency', 'libxenctrl.so.4.99: cannot open shared object file'],
    ['without its functions', `${REAL_SONAME} cannot be used: `],
    ['crashes while it is loaded', 'the libxl helper process ended (SIGTRAP)'],
  ])('is %s', async (fault, reason) => {
    await brokenLibrary(home, REAL_SONAME, fault);
    await using daemon = await onXen('auto', { LD_LIBRARY_PATH: home });
    expect(daemon.log).toContain(`${LIBVIRT}libxl cannot be used: `);
    expect(daemon.log).toContain(reason);
    await rm(join(home, REAL_SONAME));
  });
});

test('--mechanism libvirt never loads libxl', async () => {
  await brokenLibrary(home, REAL_SONAME, 'crashes while it is loaded');
  await using daemon = await onXen('libvirt', { LD_LIBRARY_PATH: home });
  await rm(join(home, REAL_SONAME));
  expect(daemon.log).toContain(`${LIBVIRT}xlsnapd was started with --mechanism libvirt;`);
  expect((await doctor(daemon)).stdout).toContain('save and restore: xlsnapd was started with --mechanism libvirt\n');
});

describe('--mechanism libxl refuses to start, in one line', () => {
  const refusal = async (...args: readonly string[]) => {
    const places = ['state', 'snapshot', 'memory'].flatMap((name) => [`--${name}-dir`, join(home, name)]);
    const { status, stderr } = await runXlsnapd('--listen', join(home, 'sock'), ...places, '--dbus', 'none', ...args);
    expect(status).toBe(1);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    return stderr;
  };

  test('if libxl cannot be used', async () => {
    const args = ['--upstream', xen.socket, '--upstream-uri', 'test:///default', '--mechanism', 'libxl'];
    const text = await refusal(...args);
    expect(text).toMatch(/libxl cannot be used: libxenlight\.so\.4\.\d+ cannot reach Xen/);
    expect(text).toContain('(--mechanism auto serves through libvirt then)');
  });

  test('if the upstream is no Xen host: its driver says what the host is', async () => {
    const text = await refusal('-c', 'test:///default', '--upstream', libvirtd.socket, '--mechanism', 'libxl');
    expect(text).toContain('the upstream driver is TEST, not Xen');
  });

  test('if there is no upstream', async () => {
    expect(await refusal('-c', 'test:///default', '--mechanism', 'libxl')).toContain(
      '--mechanism libxl needs a libvirtd that owns the domains',
    );
  });
});

test('doctor asks the daemon that answers on its socket, of several', async () => {
  await using behind = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  await using embedded = await Xlsnapd.start();
  expect((await doctor(behind)).stdout).toContain('through libvirt, by save and restore: the upstream driver is TEST');
  expect((await doctor(embedded)).stdout).toContain('by the embedded host: the embedded host has no libvirtd');
});

test('a libvirtd is not taken for a daemon of ours: the default folders, and a line that says so', async () => {
  const uri = `test+unix:///default?socket=${libvirtd.socket}`;
  const { stderr } = await runProgram(XLSNAP, ['-c', uri, 'du', 'test']);
  expect(stderr).toContain('the daemon does not say which folders it uses: looking in the default ones\n');
});
