import { describe, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, useLab } from '../support/lab.ts';

const lab = useLab();

describe('a command in dom0', () => {
  test('comes back with its own status and with both outputs apart', async () => {
    const result = await lab().sh('echo to stdout; echo to stderr >&2; exit 42');
    expect(result).toEqual({ rc: 42, stdout: 'to stdout\n', stderr: 'to stderr\n' });
  });

  test('runs as root on Xen, in the directory of the test run', async () => {
    const { stdout } = await lab().sh('id -u; pwd; cat /sys/hypervisor/type');
    expect(stdout).toBe(`0\n${process.cwd()}\nxen\n`);
  });

  test('returns every byte as it was written', async () => {
    const { rc, stdout } = await lab().dom0.run(`printf '%b' "$(printf '\\\\x%02x' {0..255})"; printf '"\\n{}\\r'`);
    expect(rc).toBe(0);
    expect(stdout).toEqual(
      Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), Buffer.from('"\n{}\r')]),
    );
  });

  test('may print a mebibyte', async () => {
    const { stdout, stderr } = await lab().dom0.run(
      'yes 0123456789abcde | head -c 1048576; yes e | head -c 100000 >&2',
    );
    expect(stdout).toEqual(Buffer.from('0123456789abcde\n'.repeat(65536)));
    expect(stderr.length).toBe(100_000);
  });

  test('is killed with its children at its time limit, says so with its output, and the host goes on', async () => {
    const stuck = lab().sh('echo started; sleep 987 & sleep 987', { timeoutMs: 2_000 });
    await expect(stuck).rejects.toThrow(/after its time limit of 2000 ms: .*sleep 987[^]*stdout: started/);
    expect(await lab().sh('pgrep -f "^sleep 987"')).toMatchObject({ rc: 1, stdout: '' });
  });

  test('is killed when its signal aborts', async () => {
    const stop = new AbortController();
    const stuck = lab().sh('sleep 987', { signal: stop.signal, onStart: () => setTimeout(() => stop.abort(), 1_000) });
    await expect(stuck).rejects.toThrow('after being told to');
  });

  test('that fails in `must` is an error with all it said', async () => {
    await expect(lab().must('echo out; echo why >&2; exit 3')).rejects.toThrow(
      /status 3 [^]*stdout: out\n[^]*stderr: why/,
    );
  });
});

const guests: readonly LabGuest[] = [
  {
    name: 'counting-pvh',
    type: 'pvh',
    memoryMiB: 96,
    disks: [
      { format: 'qcow2', path: '/var/lib/libvirt/images/pvh-a.qcow2' },
      { format: 'raw', path: '/var/lib/libvirt/images/pvh-b.raw' },
    ],
  },
  {
    name: 'counting-pv',
    type: 'pv',
    memoryMiB: 96,
    disks: [{ format: 'qcow2', path: '/var/lib/libvirt/images/pv-a.qcow2' }],
  },
];

describe.each(guests)('a $type guest under a real libvirtd', (guest) => {
  test(
    'counts in RAM and on each disk, is saved and restored, and obeys a shutdown',
    async () => {
      await lab().startLibvirtd();
      await lab().defineGuest(guest);
      await lab().startGuest(guest.name);
      await lab().waitForTick(guest.name, 3);
      const [first] = guest.disks;
      for (const { path } of guest.disks) expect(await lab().diskCount(path)).toBeGreaterThanOrEqual(2);

      expect(await lab().virsh('save', guest.name, '/tmp/saved')).toMatchObject({ rc: 0 });
      const saved = lab().ticks(guest.name).at(-1) ?? 0;
      const onDisk = await lab().diskCount(first?.path ?? '');
      expect([saved - 1, saved]).toContain(onDisk);
      expect((await lab().virsh('domstate', guest.name)).stdout.trim()).toBe('shut off');

      expect(await lab().virsh('restore', '/tmp/saved')).toMatchObject({ rc: 0 });
      await lab().waitForTick(guest.name, saved + 2);
      expect(lab().tickRuns(guest.name)).toEqual([Array.from(lab().ticks(guest.name), (_, index) => index + 1)]);

      // The same image again: as a revert would, but for the disk, which went on.
      expect(await lab().virsh('destroy', guest.name)).toMatchObject({ rc: 0 });
      expect(await lab().virsh('restore', '/tmp/saved')).toMatchObject({ rc: 0 });
      await lab().waitForTicks(guest.name, () => lab().tickRuns(guest.name).length === 2);
      expect(lab().tickRuns(guest.name)[1]?.[0]).toBe(saved + 1);

      expect(await lab().virsh('shutdown', guest.name)).toMatchObject({ rc: 0 });
      await lab().must(`until_true 60 shut_off ${guest.name}`);
      expect(await lab().virsh('undefine', guest.name)).toMatchObject({ rc: 0 });
      await lab().must(`rm /tmp/saved ${guest.disks.map(({ path }) => path).join(' ')}`);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});
