/** `xlsnap install` on a real Xen host with a real systemd: afterwards the plain virsh has snapshots. */

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, useLab } from '../support/lab/lab.ts';

const lab = useLab();

const MEMORY = '/var/lib/libvirt/libxl/snapshot-memory';

const guest: LabGuest = {
  name: 'g-install',
  type: 'pvh',
  memoryMiB: 96,
  disks: [{ format: 'qcow2', path: '/var/lib/libvirt/images/g-install.qcow2' }],
};

/** dom0's own first program is the lab's: systemd is the first of a process namespace, over dom0's files and sockets. */
const START_SYSTEMD = `
  # systemd obeys none but the processes that it can see.
  running() { nsenter -t $(pgrep -P $(< /run/lab/systemd.pid)) -p -m -C systemctl is-system-running | grep -qE 'running|degraded'; }
  mkdir -p /run/systemd/system
  for unit in libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket \\
    virtlogd.socket virtlogd-admin.socket virtlockd.socket virtlockd-admin.socket \\
    systemd-udevd.service systemd-udev-trigger.service systemd-tmpfiles-setup.service; do
    ln -s /dev/null /run/systemd/system/$unit
  done
  setsid unshare --kill-child -fpmC sh -c '
    mount -t proc proc /proc && mount -t xenfs xenfs /proc/xen && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lab \\
      /lib/systemd/systemd --system --unit=basic.target --show-status=no' > $LOG/systemd.log 2>&1 &
  echo $! > /run/lab/systemd.pid
  until_true 300 running || fail "systemd: $(< $LOG/systemd.log)"`;

/** Runs a command beside systemd, as a login on that host would. */
const beside = (command: string) => `nsenter -t $(pgrep -P $(< /run/lab/systemd.pid)) -p -m -C ${command}`;
const xlsnap = async (words: string) =>
  (await lab().must(beside(`node /mnt/lab/checkout/dist/cli/main.js --quiet ${words}`), { timeoutMs: 300_000 }))
    .trimEnd()
    .split('\n');

const virsh = async (...words: readonly string[]) => {
  const { rc, stdout, stderr } = await lab().virsh(...words);
  if (rc !== 0)
    throw new Error(`virsh ${words.join(' ')}: ${stderr}${await lab().must(beside('journalctl -u xlsnapd'))}`);
  return stdout.trimEnd();
};

describe('a Xen host with systemd', () => {
  beforeAll(async () => {
    await lab().startLibvirtd();
    await lab().defineGuest(guest);
    await lab().startGuest(guest.name);
    await lab().must(START_SYSTEMD, { timeoutMs: LAB_TEST_TIMEOUT_MS });
  }, LAB_TEST_TIMEOUT_MS);

  afterAll(async () => {
    await lab().must(`
    virsh -c xen:///system destroy ${guest.name} && virsh -c xen:///system undefine ${guest.name}
    kill -KILL $(< /run/lab/systemd.pid) && rm -r /run/systemd`);
  });

  test(
    'without it virsh has no snapshots; after it plain virsh takes, lists, reverts to and deletes them',
    async () => {
      const before = await lab().virsh('snapshot-create-as', guest.name, 's1');
      expect(before.stderr).toMatch(/^error: this function is not supported by the connection driver: virDomain/);

      const lines = await xlsnap('install');
      expect(lines.at(-1)).toBe('ran systemctl start xlsnapd.service');
      expect(await lab().must(beside('systemctl is-active xlsnapd.service'))).toBe('active\n');

      const tick = lab().ticks(guest.name).at(-1) ?? 0;
      expect(await virsh('snapshot-create-as', guest.name, 's1')).toBe('Domain snapshot s1 created');
      expect(await virsh('snapshot-list', guest.name, '--name')).toBe('s1');
      await lab().waitForTick(guest.name, tick + 3);
      const runs = lab().tickRuns(guest.name).length;
      expect(await virsh('snapshot-revert', guest.name, 's1')).toBe('Domain snapshot s1 reverted');
      await lab().waitForTicks(guest.name, () => lab().tickRuns(guest.name).length > runs);
      expect(await virsh('snapshot-delete', guest.name, 's1')).toBe('Domain snapshot s1 deleted');
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'a guest goes on when systemd kills the daemon while its RAM is written, and a restart has no half snapshot',
    async () => {
      await lab().must(
        beside(`bash -c '
        pid=$(systemctl show --property=MainPID --value xlsnapd.service)
        virsh -c xen:///system snapshot-create-as ${guest.name} s2 > /run/lab/create 2>&1 &
        for i in {1..600}; do ls ${MEMORY}/*/s2.save.partial > /dev/null 2>&1 && break; sleep 0.1; done
        kill -KILL $pid && wait'`),
      );
      expect(await lab().must('cat /run/lab/create')).toMatch(/^error: /);
      const tick = lab().ticks(guest.name).at(-1) ?? 0;
      await lab().waitForTick(guest.name, tick + 2);
      const names = await virsh('snapshot-list', guest.name, '--name');
      expect(names).toBe('');
      expect(await lab().must(`qemu-img snapshot -U -l ${guest.disks[0]?.path}`)).toBe('');
      expect(await lab().must(`find ${MEMORY} -type f ! -name .xlsnapd.lock`)).toBe('');
      expect(await lab().must(beside('journalctl -u xlsnapd --output=cat'))).toContain(
        `create of snapshot 's2' of domain '${guest.name}' was interrupted`,
      );
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'uninstall takes it all away, and virsh is back at libvirt',
    async () => {
      const lines = await xlsnap('uninstall');
      expect(lines).toContain('kept /var/lib/libvirt/libxl/snapshot (metadata of snapshots)');
      expect(await lab().must('ls /run/libvirt')).not.toContain('virtxend');
      expect((await lab().virsh('snapshot-list', guest.name)).stderr).toMatch(/^error: this function is not supported/);
      expect(await lab().must('ls /etc/systemd/system')).not.toContain('xlsnap');
    },
    LAB_TEST_TIMEOUT_MS,
  );
});
