/** The Debian package on a host with a real systemd: apt install, upgrade, remove, purge. */

import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { buildDeb } from '../../scripts/deb.mjs';
import { asOnXen, noSystemdHost, PACKAGE_THERE, SystemdHost } from '../support/daemons/systemd-host.ts';
import { describeUnless } from '../support/describe-unless.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
jest.setTimeout(240_000);

/** The embedded host has Xen's part. */
const AS_ON_XEN = `${asOnXen('--connect test:///default')}; systemctl daemon-reload`;

const VIRSH = 'virsh -q -c test+unix:///default?socket=/run/libvirt/virtxend-sock';
const UNITS = 'xlsnapd.service xlsnapd.socket xlsnapd-ro.socket';

describeUnless(noSystemdHost, 'apt', () => {
  let host: SystemdHost;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'xlsnap-debs-'));
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
    const deb = await buildDeb(architecture, folder);
    // The version before this one.
    const tree = join(folder, 'tree');
    await run('dpkg-deb', ['--raw-extract', deb, tree]);
    const control = join(tree, 'DEBIAN/control');
    await writeFile(control, (await readFile(control, 'utf8')).replace(/^Version: .*/m, 'Version: 0.0.9'));
    await run('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, join(folder, 'old.deb')]);
    await cp(deb, join(folder, 'new.deb'));
    await rm(tree, { recursive: true });
    host = await SystemdHost.boot(folder);
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const apt = async (...words: readonly string[]) =>
    await host.must(`DEBIAN_FRONTEND=noninteractive apt-get -qq -y ${words.join(' ')} < /dev/null 2>&1`);

  test('the system’s lintian finds no error in it', async () => {
    await host.must(`lintian --allow-root --fail-on error ${PACKAGE_THERE}/new.deb`);
  });

  test('install enables the service, and writes nothing that the package brings to /etc', async () => {
    const said = await apt('install', `${PACKAGE_THERE}/old.deb`);
    expect(said).toContain('as it is: /usr/lib/systemd/system/xlsnapd.service');
    expect(await host.must(`systemctl is-enabled ${UNITS}`)).toBe('enabled\nenabled\nenabled');
    const written = await host.must('cd /etc/systemd/system; find . -name "*xlsnap*" -type f');
    expect(written.split('\n').toSorted()).toEqual([
      './virtxend-ro.socket.d/xlsnapd.conf',
      './virtxend.socket.d/xlsnapd.conf',
    ]);
    expect(await host.must('man --path xlsnap || man -w xlsnap')).toContain('/usr/share/man/man1/xlsnap.1');
    expect(await host.must('xlsnap install')).not.toMatch(/^wrote /m);
  });

  test('an upgrade restarts the service; a snapshot that is being taken is whole or is not there', async () => {
    await host.must(AS_ON_XEN);
    await host.must(
      'systemctl restart xlsnapd.socket xlsnapd-ro.socket; systemctl start xlsnapd.service || { journalctl -u xlsnapd -n 30 --no-pager >&2; exit 1; }',
    );
    await host.must(`${VIRSH} snapshot-create-as test s1`);
    const before = await host.must('systemctl show --property=MainPID xlsnapd.service');
    // The disk does not answer while the package changes.
    const device = await host.must('pgrep -n ^qemu-storage-da');
    await host.must(`kill -STOP ${device}`);
    const create = host.run('sh', '-c', `${VIRSH} snapshot-create-as test s2`);
    await until(async () => (await host.must(`${VIRSH} domjobinfo test`)).includes('Unbounded'));
    const upgrade = apt('install', `${PACKAGE_THERE}/new.deb`);
    const stopped = async () => (await host.run('systemctl', 'is-active', 'xlsnapd.service')).stdout !== 'active';
    await until(stopped, 120_000);
    await host.must(`kill -CONT ${device}`);
    await upgrade;
    const { status } = await create;

    expect(await host.must(`systemctl is-active ${UNITS}`)).toBe('active\nactive\nactive');
    expect(await host.must('systemctl show --property=MainPID xlsnapd.service')).not.toBe(before);
    expect(await host.must(`${VIRSH} snapshot-list test --name`)).toBe(status === 0 ? 's1\ns2' : 's1');
    expect(await host.must(`${VIRSH} domstate test`)).toBe('running');
    expect(await host.must(`${VIRSH} snapshot-revert test s1`)).toBe('');
  });

  test('what the administrator has disabled stays so', async () => {
    await host.must(`systemctl disable --now ${UNITS}`);
    await apt('install', '--reinstall', `${PACKAGE_THERE}/new.deb`);
    expect((await host.run('systemctl', 'is-enabled', 'xlsnapd.socket')).stdout).toBe('disabled');
    expect((await host.run('systemctl', 'is-active', 'xlsnapd.socket')).stdout).toBe('inactive');
    await host.must(`systemctl enable --now ${UNITS}`);
  });

  test('sockets of a host whose libvirtd does not ask polkit have the modes and groups that its own have', async () => {
    await host.must(
      `printf 'auth_unix_rw = "none"\n' >> /etc/libvirt/libvirtd.conf; chmod 0660 /run/libvirt/libvirt-sock; chgrp libvirt /run/libvirt/libvirt-sock`,
    );
    await apt('install', '--reinstall', `${PACKAGE_THERE}/new.deb`);
    expect(await host.must('stat -c "%a %G" /run/libvirt/virtxend-sock')).toBe('660 libvirt');
  });

  test('remove and purge keep every snapshot and say where they are', async () => {
    await host.must('mkdir -p /var/lib/libvirt/libxl/snapshot/g; touch /var/lib/libvirt/libxl/snapshot/g/s1.xml');
    expect(await apt('remove', 'xlsnap')).toContain('kept /var/lib/libvirt/libxl/snapshot (metadata of snapshots)');
    expect(await host.must('find /etc/systemd/system -name "*xlsnap*" -not -path "*.d*"')).toBe('');
    expect(await host.must('ls /run/libvirt/virtxend-* 2>/dev/null || true')).toBe('');
    expect(await apt('purge', 'xlsnap')).toContain('xlsnap: snapshots stay in /var/lib/libvirt/libxl/snapshot');
    expect(await host.must('ls /var/lib/libvirt/libxl/snapshot/g /usr/lib/xlsnap 2>/dev/null || true')).toContain(
      's1.xml',
    );
    expect((await host.run('dpkg-query', '--show', 'xlsnap')).status).not.toBe(0);
  });
});
