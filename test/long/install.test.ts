/** From `npm pack` to a service of the host: under a real systemd, with the real virsh. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { asOnXen, noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';
import { pack } from '../support/packed.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const XLSNAP = join(ROOT, 'dist/cli/main.js');
const UNITS = 'etc/systemd/system';
const SYSTEMD_TEST_MS = 180_000;

const run = promisify(execFile);
const xlsnap = async (...words: readonly string[]) =>
  (await run(process.execPath, [XLSNAP, '--quiet', ...words])).stdout
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('note: xen:///system is open to'));

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'xlsnap-install-'));
});
afterAll(async () => await rm(scratch, { recursive: true }));

/** An empty host's root folder, with this /etc/group. */
const emptyHost = async (groups: string) => {
  const root = await mkdtemp(join(scratch, 'root-'));
  await mkdir(join(root, 'etc'));
  await writeFile(join(root, 'etc/group'), groups);
  return root;
};

/** Path and content of everything in a folder. */
const filesIn = async (root: string) => (await run('find', [root, '!', '-type', 'd', '-printf', '%P %m %l\n'])).stdout;

describe('npm pack', () => {
  test(
    'makes a package that installs and runs where there is no compiler',
    async () => {
      const bin = join(scratch, 'bin');
      await mkdir(bin);
      const npm = (await run('sh', ['-c', 'readlink -f "$(command -v npm)"'])).stdout.trim();
      for (const [name, target] of [
        ['node', process.execPath],
        ['npm', npm],
        ['sh', '/bin/sh'],
        ['env', '/usr/bin/env'],
      ] as const) {
        await symlink(target, join(bin, name));
      }
      const env = { ...process.env, PATH: bin };
      const { tarball, paths } = await pack(scratch);
      for (const path of ['packaging/systemd/xlsnapd.service', 'dist/index.d.ts', 'schemas/libxl_snapshot.idl']) {
        expect(paths).toContain(path);
      }
      expect(paths.filter((path) => /^(src|test|fixtures)\//.test(path))).toEqual([]);

      const prefix = join(scratch, 'prefix');
      const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
      await run('npm', ['install', '--global', '--prefix', prefix, ...quiet, tarball], { env });
      for (const program of ['xlsnap', 'xlsnapd']) {
        const { stdout } = await run(join(prefix, 'bin', program), ['--version'], { env });
        expect(stdout).toMatch(/^(xlsnapd )?\d+\.\d+\.\d+\n$/);
      }
      for (const page of ['man1/xlsnap.1', 'man8/xlsnapd.8']) {
        expect(existsSync(join(prefix, 'share/man', page))).toBe(true);
      }
      const { stdout: plan } = await run(join(prefix, 'bin/xlsnap'), ['install', '--root', scratch, '--dry-run'], {
        env,
      });
      expect(plan).toContain(`would write /${UNITS}/xlsnapd.service`);
      expect(existsSync(join(scratch, 'etc'))).toBe(false);
    },
    SYSTEMD_TEST_MS,
  );
});

describe('xlsnap install --root', () => {
  test('says each file it writes, and the second time that all is as it is', async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    const first = await xlsnap('install', '--root', root);
    const files = await filesIn(root);
    expect(first.map((line) => line.replace(/^wrote \/([^ ]*) \(.+\)$/, '$1')).toSorted()).toEqual(
      files
        .split('\n')
        .map((line) => line.split(' ')[0] ?? '')
        .filter((path) => path !== '' && path !== 'etc/group')
        .toSorted(),
    );
    const second = await xlsnap('install', '--root', root);
    expect(second.map((line) => line.replace(/^as it is: /, 'wrote '))).toEqual(first);
    expect(await filesIn(root)).toBe(files);
  });

  test('says the same as JSON', async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    const words = ['install', '--root', root, '--dry-run'];
    const steps = JSON.parse((await xlsnap(...words, '--json')).join('\n')) as readonly Record<string, string>[];
    const files = steps.filter(({ step }) => step !== 'note');
    expect(files.map(({ step, what, purpose }) => `${step} ${what} (${purpose})`)).toEqual(await xlsnap(...words));
  });

  test('writes again what has been changed', async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    await xlsnap('install', '--root', root);
    const unit = join(root, UNITS, 'xlsnapd.socket');
    const text = await readFile(unit, 'utf8');
    await writeFile(unit, 'broken');
    expect(await xlsnap('install', '--root', root)).toContain(
      `wrote /${UNITS}/xlsnapd.socket (where clients of xen:///system connect)`,
    );
    expect(await readFile(unit, 'utf8')).toBe(text);
  });

  test('passes an upstream on to the daemon, whatever its name', async () => {
    const root = await emptyHost('');
    await xlsnap('install', '--root', root, '--upstream', '/run/my "100%" $sock');
    const unit = await readFile(join(root, UNITS, 'xlsnapd.service'), 'utf8');
    expect(unit).toMatch(/^ExecStart=\S+ \S+main\.js --upstream "\/run\/my \\"100%%\\" \$\$sock"$/m);
    await expect(xlsnap('install', '--root', root, '--upstream', 'auto')).rejects.toThrow(
      "error: invalid argument: --upstream takes the absolute path of a socket, or xl, not 'auto'",
    );
  });

  test('gives the sockets to group libvirt where there is one, else to root alone, and says so', async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    await xlsnap('install', '--root', root);
    expect(await readFile(join(root, UNITS, 'xlsnapd.socket'), 'utf8')).toContain('\nSocketGroup=libvirt\n');
    await writeFile(join(root, 'etc/group'), 'libvirt-qemu:x:1:\n');
    expect((await xlsnap('install', '--root', root)).at(-1)).toBe(
      'note: no group may use libvirt here: only root may use xlsnapd on D-Bus',
    );
    expect(await readFile(join(root, UNITS, 'xlsnapd-ro.socket'), 'utf8')).toContain('\nSocketGroup=root\n');
  });

  test('is undone by uninstall, which names the snapshots that stay', async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    const metadata = join(root, 'var/lib/libvirt/libxl/snapshot/vm/s1.xml');
    await mkdir(resolve(metadata, '..'), { recursive: true });
    await writeFile(metadata, '<domainsnapshot/>');
    await xlsnap('install', '--root', root);
    const dropIn = join(root, UNITS, 'xlsnapd.service.d/local.conf');
    await mkdir(resolve(dropIn, '..'));
    await writeFile(dropIn, '[Service]\nNice=5\n');
    // As systemctl enable makes it.
    const timers = join(root, UNITS, 'timers.target.wants');
    await mkdir(timers);
    await symlink(`/${UNITS}/xlsnap-rotate@.timer`, join(timers, 'xlsnap-rotate@my-guest.timer'));

    const would = await xlsnap('uninstall', '--root', root, '--dry-run');
    const did = await xlsnap('uninstall', '--root', root);
    expect(would.map((line) => line.replace(/^would remove /, 'removed '))).toEqual(did);
    expect(did.slice(-2)).toEqual([
      'kept /var/lib/libvirt/libxl/snapshot (metadata of snapshots)',
      "kept what snapshots have in or beside the guests' disk images",
    ]);
    const left = (await filesIn(root))
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(left.toSorted()).toEqual([
      'etc/group',
      'etc/systemd/system/xlsnapd.service.d/local.conf',
      'var/lib/libvirt/libxl/snapshot/vm/s1.xml',
    ]);
    expect((await xlsnap('uninstall', '--root', root)).filter((line) => !line.startsWith('kept'))).toEqual([]);
  });
});

describe('the units', () => {
  let units: readonly string[];
  beforeAll(async () => {
    const root = await emptyHost('libvirt:x:1:\n');
    await xlsnap('install', '--root', root);
    const rotation = ['xlsnap-rotate@my-guest.service', 'xlsnap-rotate@my-guest.timer'];
    units = ['xlsnapd.service', 'xlsnapd.socket', 'xlsnapd-ro.socket', ...rotation].map((name) =>
      join(root, UNITS, name),
    );
  });

  test('are well-formed to systemd', async () => {
    const { stderr } = await run('systemd-analyze', ['verify', '--man=no', ...units]);
    expect(stderr.split('\n').filter((line) => line.includes('xlsnap'))).toEqual([]);
  });

  test('leave open only what libxl, disk images and Node need', async () => {
    const words = ['security', '--offline=true', '--threshold=65', '--json=short', units[0] ?? ''];
    const { stdout } = await run('systemd-analyze', words);
    const settings = JSON.parse(stdout) as readonly { set: boolean | null; json_field: string }[];
    const open = settings.filter(({ set }) => set === false).map(({ json_field }) => json_field);
    expect(open.toSorted()).toEqual(OPEN.flatMap(([, ...fields]) => fields).toSorted());
  });
});

/** What `systemd-analyze security` finds open, and why it is. */
const OPEN = [
  ['libxl wants root', 'UserOrDynamicUser', 'PrivateUsers'],
  [
    'libxl maps memory of guests through /dev/xen',
    'DeviceAllow',
    'PrivateDevices',
    'CapabilityBoundingSet_CAP_IPC_LOCK',
  ],
  [
    "lvcreate and zfs work through the kernel's own devices",
    'CapabilityBoundingSet_CAP_MKNOD',
    'CapabilityBoundingSet_CAP_SYS_ADMIN',
    'CapabilityBoundingSet_CAP_SYS_RAWIO',
    'RestrictAddressFamilies_AF_NETLINK',
    'SystemCallFilter_mount',
  ],
  [
    'images may lie anywhere, and `--memspec` may name any file',
    'PrivateTmp',
    'ProtectHome',
    'ProtectSystem',
    'RootDirectoryOrRootImage',
  ],
  [
    "images belong to the device models' users",
    'CapabilityBoundingSet_CAP_CHOWN_FSETID_SETFCAP',
    'CapabilityBoundingSet_CAP_DAC_FOWNER_IPC_OWNER',
    'CapabilityBoundingSet_CAP_SET_UID_GID_PCAP',
    'SystemCallFilter_privileged',
  ],
  [
    'helpers and device models are other processes',
    'CapabilityBoundingSet_CAP_KILL',
    'CapabilityBoundingSet_CAP_SYS_NICE_RESOURCE',
    'CapabilityBoundingSet_CAP_SYS_PTRACE',
    'ProcSubset',
    'ProtectProc',
    'SystemCallFilter_resources',
  ],
  [
    'all of it speaks over AF_UNIX; the internet is closed by RestrictAddressFamilies',
    'IPAddressDeny',
    'PrivateNetwork',
    'RestrictAddressFamilies_AF_UNIX',
  ],
  [
    'ProtectClock would close /dev/xen with its device policy: capabilities and calls are closed one by one',
    'ProtectClock',
  ],
  ['ProtectSystem has made the mounts private already', 'PrivateMounts'],
  ["Node's compiler writes code", 'MemoryDenyWriteExecute'],
] as const;

/** libvirtd in the part of the modular daemon: what systemd passes to it bears the names that it knows. */
const VIRTXEND = `
  cd /${UNITS}
  printf '[Service]\nType=notify\nKillMode=process\nExecStart=/usr/sbin/libvirtd --timeout 120\n' > virtxend.service
  for ro in '' -ro; do
    printf '[Socket]\nListenStream=%s\nFileDescriptorName=%s\nService=virtxend.service\nRemoveOnStop=yes\n' \
      /run/libvirt/virtxend-sock$ro libvirtd$ro.socket > virtxend$ro.socket
  done
  systemctl daemon-reload
  systemctl stop libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket
  systemctl start virtxend.socket virtxend-ro.socket`;

const DISKLESS = "<domain type='test'><name>bare</name><memory>65536</memory><os><type>hvm</type></os></domain>";

describeUnless(noSystemdHost, 'a host with systemd', () => {
  let host: SystemdHost;
  const there = async (words: string) =>
    (await host.must(`node ${PACKAGE_THERE}/dist/cli/main.js --quiet ${words}`)).split('\n');
  const virsh = async (words: string) => await host.must(`virsh -c xen:///system ${words}`);
  const sockets = async () => await host.must('cd /run/libvirt; ls -d virtxend-*sock* 2>/dev/null || true');

  beforeAll(async () => {
    host = await SystemdHost.boot(ROOT);
  }, SYSTEMD_TEST_MS);
  afterAll(async () => await host?.[Symbol.asyncDispose]());

  test('without Xen is left to libvirtd, and its units are there for the next boot', async () => {
    const lines = await there('install');
    expect(lines.filter((line) => line.startsWith('ran '))).toEqual([
      'ran systemctl daemon-reload',
      'ran systemctl stop xlsnapd.service',
      'ran systemctl restart xlsnapd.socket xlsnapd-ro.socket',
      'ran systemctl start xlsnapd.service',
    ]);
    const units = 'xlsnapd.service xlsnapd.socket xlsnapd-ro.socket';
    expect(await host.must(`systemctl is-enabled ${units}`)).toBe('enabled\nenabled\nenabled');
    expect((await host.run('sh', '-c', `systemctl is-active ${units}`)).stdout).toBe('inactive\ninactive\ninactive');
    expect(await sockets()).toBe('');
  });

  test(
    'has snapshots with RAM and disks from behind the closed doors of its service',
    async () => {
      await host.must(asOnXen('--connect test:///default'));
      await there('install');
      const embedded = 'virsh -c test+unix:///default?socket=/run/libvirt/virtxend-sock';
      expect(await host.must(`${embedded} snapshot-create-as test s1`)).toBe('Domain snapshot s1 created');
      expect(await host.must(`${embedded} snapshot-revert test s1`)).toBe('Domain snapshot s1 reverted');
      expect(await host.must(`${embedded} domstate test --reason`)).toBe('running (from snapshot)');
      expect(await host.must(`${embedded} snapshot-delete test s1`)).toBe('Domain snapshot s1 deleted');
    },
    SYSTEMD_TEST_MS,
  );

  test('S18: has a daemon that leaves no core, that the kernel ends last, and that dead storage does not stop', async () => {
    const daemon = '/proc/$(systemctl show -P MainPID xlsnapd.service)';
    expect(await host.must(`cat ${daemon}/limits`)).toMatch(/^Max core file size +0 +0 /m);
    // Not the process's own score: in a container systemd cannot lower it.
    expect(await host.must('systemctl show -P OOMScoreAdjust xlsnapd.service')).toBe('-900');
    expect(await host.must(`tr '\\0' '\\n' < ${daemon}/environ`)).toMatch(/^UV_THREADPOOL_SIZE=32$/m);
    expect(await host.must('systemctl show -P TasksMax xlsnapd.service')).toBe('32768');
  });

  test(
    'serves plain xen:///system, to root and to whom polkit lets in, started by its first client',
    async () => {
      await host.must(asOnXen('--upstream-uri test:///default'));
      await there('install');
      expect(await sockets()).toBe('virtxend-sock\nvirtxend-sock-ro');
      await host.must('systemctl stop xlsnapd.service');
      await virsh('list');
      expect(await host.must('systemctl is-active xlsnapd.service')).toBe('active');
      await host.must(`printf '%s' "${DISKLESS}" > /run/bare.xml`);
      await virsh('define /run/bare.xml');
      await virsh('start bare');
      expect(await virsh('snapshot-create-as bare s1')).toBe('Domain snapshot s1 created');
      expect(await virsh('snapshot-list bare --name')).toBe('s1');
      await host.must('systemctl enable --now xlsnap-rotate@bare.timer; systemctl start xlsnap-rotate@bare.service');
      expect(await host.must('systemctl is-active xlsnap-rotate@bare.timer')).toBe('active');
      expect(await virsh('snapshot-list bare --name')).toMatch(/^daily-\d{8}T\d{6}Z\ns1$/);

      expect(await host.must('busctl --list --no-legend list | cut -d" " -f1')).toContain('org.xlsnap');

      await host.must('useradd --system --no-create-home --groups libvirt member');
      const as = (user: string, group: string) =>
        host.run(
          'sh',
          '-c',
          `setpriv --reuid=${user} --regid=${group} --init-groups virsh -c xen:///system list --name`,
        );
      expect((await as('nobody', 'nogroup')).stderr).toContain('authentication unavailable: no polkit agent available');
      expect((await as('member', 'member')).status).toBe(0);
    },
    SYSTEMD_TEST_MS,
  );

  test(
    'has the daemon back after a crash',
    async () => {
      await host.must('systemctl kill --signal=KILL --kill-whom=main xlsnapd.service');
      expect(await virsh('list --name')).toContain('test');
    },
    SYSTEMD_TEST_MS,
  );

  test(
    'with virtxend has it behind xlsnapd, and in its own place again afterwards',
    async () => {
      expect((await there('uninstall')).slice(0, 1)).toEqual([
        'ran systemctl stop xlsnap-rotate@bare.timer xlsnapd.service xlsnapd.socket xlsnapd-ro.socket',
      ]);
      expect(await sockets()).toBe('');
      expect(await host.must('find /etc/systemd/system -name "xlsnap-rotate@*"')).toBe('');
      await host.must(VIRTXEND);
      expect(await sockets()).toBe('virtxend-sock\nvirtxend-sock-ro');

      expect(await there('install')).toContain('ran systemctl start virtxend.socket virtxend-ro.socket');
      expect(await sockets()).toBe(
        'virtxend-sock\nvirtxend-sock-ro\nvirtxend-upstream-sock\nvirtxend-upstream-sock-ro',
      );
      expect(await virsh('list --name')).toContain('test');
      expect(await host.must('systemctl is-active xlsnapd.service virtxend.service')).toBe('active\nactive');
      expect((await host.run('systemctl', 'is-active', 'libvirtd.service')).stdout).toBe('inactive');

      const lines = await there('uninstall');
      expect(lines).toContain('ran systemctl start virtxend.socket virtxend-ro.socket');
      expect(lines).toContain('kept /var/lib/libvirt/libxl/snapshot (metadata of snapshots)');
      expect(await sockets()).toBe('virtxend-sock\nvirtxend-sock-ro');
      expect((await host.run('systemctl', 'cat', 'virtxend.socket')).stdout).not.toContain('xlsnap');
      const { stderr } = await host.run(
        'virsh',
        '-c',
        'test+unix:///default?socket=/run/libvirt/virtxend-sock',
        'list',
      );
      expect(stderr).toBe('');
    },
    SYSTEMD_TEST_MS,
  );
});
