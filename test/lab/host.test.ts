import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { type LabGuest, useLab } from '../support/lab/lab.ts';

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

  test('is killed at its time limit, and the host goes on', async () => {
    await expect(lab().sh('sleep 987', { timeoutMs: 3_000 })).rejects.toThrow(
      'after its time limit of 3000 ms: sleep 987',
    );
    expect(await lab().sh('echo here')).toMatchObject({ rc: 0, stdout: 'here\n' });
  });

  test('is killed with its children when its signal aborts, and its output so far is told', async () => {
    const stop = new AbortController();
    let watching: NodeJS.Timeout | undefined;
    const stuck = lab().sh('sleep 986 & echo started; wait', {
      signal: stop.signal,
      onStart: (dir) => {
        watching = setInterval(() => readFileSync(`${dir}/stdout`, 'utf8') === 'started\n' && stop.abort(), 100);
      },
    });
    await expect(stuck).rejects.toThrow(/after being told to: .*stdout: started/s);
    clearInterval(watching);
    expect(await lab().sh('pgrep -f "^sleep 98[67]"')).toMatchObject({ rc: 1, stdout: '' });
  });

  test('that fails in `must` is an error with all it said', async () => {
    await expect(lab().must('echo out; echo why >&2; exit 3')).rejects.toThrow(
      /status 3 .*stdout: out\n.*stderr: why/s,
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
  test('counts in RAM and on each disk, goes back with its saved RAM, and obeys a shutdown', async () => {
    const { name, disks } = guest;
    await lab().startLibvirtd();
    await lab().defineGuest(guest);
    await lab().startGuest(name);
    await lab().waitForTick(name, 3);
    for (const { path } of disks) expect(await lab().diskCount(path)).toBeGreaterThanOrEqual(2);

    expect(await lab().virsh('save', name, '/tmp/saved')).toMatchObject({ rc: 0 });
    const saved = lab().ticks(name).at(-1) ?? 0;
    for (const { path } of disks) expect([saved - 1, saved]).toContain(await lab().diskCount(path));

    expect(await lab().virsh('restore', '/tmp/saved')).toMatchObject({ rc: 0 });
    await lab().waitForTick(name, saved + 2);
    expect(lab().tickRuns(name)).toHaveLength(1);

    // The same image again: a revert but for the disk, which went on.
    expect(await lab().virsh('destroy', name)).toMatchObject({ rc: 0 });
    expect(await lab().virsh('restore', '/tmp/saved')).toMatchObject({ rc: 0 });
    await lab().waitForTicks(name, () => lab().tickRuns(name).length === 2);
    expect(lab().tickRuns(name)[1]?.[0]).toBe(saved + 1);

    expect(await lab().virsh('shutdown', name)).toMatchObject({ rc: 0 });
    await lab().must(`until_true 60 shut_off ${name} && virsh -c xen:///system undefine ${name} && rm /tmp/saved`);
  });
});
