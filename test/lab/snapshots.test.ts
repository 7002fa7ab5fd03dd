/** Snapshots of running guests on real Xen: libvirtd owns them, xlsnapd stands before it, plain virsh asks. */

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, useLab } from '../support/lab/lab.ts';

const lab = useLab();

const IMAGES = '/var/lib/libvirt/images';
const METADATA = '/var/lib/libvirt/libxl/snapshot';
const MEMORY = '/var/lib/libvirt/libxl/snapshot-memory';

const virsh = (...words: readonly string[]) => lab().ok(...words);
const refusal = (...words: readonly string[]) => lab().refused(...words);

const last = (values: readonly number[]) => values.at(-1) ?? 0;
const tick = (guest: LabGuest) => last(lab().ticks(guest.name));
const paths = (guest: LabGuest) => guest.disks.map(({ path }) => path);

const snapshotsIn = async (path: string) => {
  const info = JSON.parse(await lab().must(`qemu-img info -U --output=json ${path}`)) as {
    snapshots?: readonly { readonly name: string }[];
  };
  return (info.snapshots ?? []).map(({ name }) => name);
};

/** The guest's count on a disk as the snapshot has it. */
const countInSnapshot = async (path: string, name: string) => {
  await lab().must(`qemu-img convert -U -l snapshot.name=${name} -O raw ${path} /run/lab/then`);
  return await lab().diskCount('/run/lab/then');
};

/** Files and snapshots that belong to the guest's snapshots, wherever they may lie. */
const remains = async (guest: LabGuest) => {
  const files = await lab().must(
    `find ${METADATA}/${guest.name} ${MEMORY} -type f ! -name .xlsnapd.lock 2>/dev/null || true`,
  );
  const inside = await Promise.all(paths(guest).map(snapshotsIn));
  return [...files.split('\n').filter(Boolean), ...inside.flat()];
};

/** Takes a snapshot; the guest's counter stood between the two returned values at its moment. */
const create = async (guest: LabGuest, name: string) => {
  const before = tick(guest);
  expect(await virsh('snapshot-create-as', guest.name, name)).toBe(`Domain snapshot ${name} created`);
  await lab().waitForTick(guest.name, before + 1);
  return [before, tick(guest)] as const;
};

/** Reverts, and returns the first tick that the guest printed afterwards. */
const revert = async (guest: LabGuest, name: string, ...flags: readonly string[]) => {
  const runs = lab().tickRuns(guest.name).length;
  expect(await virsh('snapshot-revert', guest.name, name, ...flags)).toBe(`Domain snapshot ${name} reverted`);
  if (flags.includes('--paused')) return Number.NaN;
  await lab().waitForTicks(guest.name, () => lab().tickRuns(guest.name).length > runs);
  return lab().tickRuns(guest.name).at(-1)?.[0] ?? 0;
};

const shutDown = async (guest: LabGuest) => {
  await virsh('shutdown', guest.name);
  await lab().must(`until_true 120 shut_off ${guest.name}`);
};

const checkImages = async (guest: LabGuest) => {
  for (const path of paths(guest)) await lab().must(`qemu-img check -U ${path}`);
};

const guestOf = (type: 'pv' | 'pvh', disks: number): LabGuest => ({
  name: `g-${type}`,
  type,
  memoryMiB: 96,
  disks: Array.from({ length: disks }, (_, i) => ({ format: 'qcow2', path: `${IMAGES}/g-${type}-${i}.qcow2` })),
});

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
}, LAB_TEST_TIMEOUT_MS);

describe.each([guestOf('pvh', 2), guestOf('pv', 1)])('a running $type guest', (guest) => {
  const [image = ''] = paths(guest);

  beforeAll(async () => {
    await lab().defineGuest(guest);
  });

  afterEach(async () => {
    await lab().sh(`virsh -c xen:///system destroy ${guest.name}`);
    for (const name of (await virsh('snapshot-list', guest.name, '--name')).split('\n').filter(Boolean)) {
      await virsh('snapshot-delete', guest.name, name);
    }
    expect(await remains(guest)).toEqual([]);
    for (const path of paths(guest)) await lab().must(`qemu-img check ${path}`);
  });

  test(
    'goes on counting after a snapshot, comes back to its moment in RAM and on disk, and stays libvirt’s',
    async () => {
      await lab().startGuest(guest.name);
      await lab().waitForTick(guest.name, 3);
      const [before, after] = await create(guest, 's1');

      expect(await virsh('snapshot-list', guest.name)).toMatch(/^ Name .*\n-+\n s1 .* running$/);
      expect(await virsh('snapshot-current', guest.name, '--name')).toBe('s1');
      const xml = await virsh('snapshot-dumpxml', guest.name, 's1');
      expect(xml).toMatch(/^<domainsnapshot>\n {2}<name>s1<\/name>\n {2}<state>running<\/state>\n/);
      expect(xml).toContain(
        "\n  <memory snapshot='internal'/>\n  <disks>\n    <disk name='xvda' snapshot='internal'/>\n",
      );
      expect(xml).toContain(`\n    <name>${guest.name}</name>\n`);
      expect(xml).not.toContain("<domain type='xen' id=");
      expect(await virsh('snapshot-info', guest.name, 's1')).toContain('Location:       internal');
      for (const path of paths(guest)) expect(await snapshotsIn(path)).toEqual(['s1']);
      await checkImages(guest);

      await lab().waitForTick(guest.name, after + 5);
      const first = await revert(guest, 's1');
      expect(first).toBeGreaterThan(before);
      expect(first).toBeLessThanOrEqual(after + 1);
      for (const path of paths(guest)) {
        expect([first - 1, first - 2]).toContain(await countInSnapshot(path, 's1'));
        expect(await lab().diskCount(path)).toBeLessThanOrEqual(tick(guest));
      }
      await lab().waitForTick(guest.name, first + 2);

      expect(await virsh('list', '--name')).toContain(guest.name);
      expect(await virsh('domstate', guest.name)).toBe('running');
      await shutDown(guest);
      await checkImages(guest);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'that shuts down straight after a snapshot is seen to do so',
    async () => {
      await lab().startGuest(guest.name);
      await virsh('snapshot-create-as', guest.name, 's1');
      await shutDown(guest);
      expect(await virsh('domstate', guest.name, '--reason')).toBe('shut off (shutdown)');
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'comes back paused where that is asked for, with the disk of that moment',
    async () => {
      await lab().startGuest(guest.name);
      const [before, after] = await create(guest, 's1');
      await lab().waitForTick(guest.name, after + 5);
      await revert(guest, 's1', '--paused');
      expect(await virsh('domstate', guest.name)).toBe('paused');
      for (const path of paths(guest)) {
        const count = await lab().diskCount(path);
        expect(count).toBeGreaterThanOrEqual(before - 1);
        expect(count).toBeLessThanOrEqual(after);
      }
      await virsh('resume', guest.name);
      await lab().waitForTicks(guest.name, () => lab().tickRuns(guest.name).length > 1);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'leaves nothing behind of two snapshots after a revert to the first and the deletion of both',
    async () => {
      await lab().startGuest(guest.name);
      const [, after] = await create(guest, 's1');
      await create(guest, 's2');
      expect(await virsh('snapshot-list', guest.name, '--tree')).toMatch(/^s1\n {2}\|\n {2}\+- s2/);
      expect(await revert(guest, 's1')).toBeLessThanOrEqual(after + 1);
      expect(await virsh('snapshot-current', guest.name, '--name')).toBe('s1');
      await virsh('snapshot-delete', guest.name, 's1');
      await virsh('snapshot-delete', guest.name, 's2');
      expect(await virsh('snapshot-list', guest.name, '--name')).toBe('');
      expect(await lab().must(`qemu-img snapshot -U -l ${image}`)).toBe('');
      expect(await remains(guest)).toEqual([]);
      expect(await virsh('domstate', guest.name)).toBe('running');
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    guest.type === 'pvh'
      ? 'is saved live where that is asked for, and comes back to the end of it'
      : 'is not saved live on a Xen without shadow paging: refused before it is touched',
    async () => {
      await lab().startGuest(guest.name);
      const before = tick(guest);
      if (guest.type === 'pv') {
        expect(await refusal('snapshot-create-as', guest.name, 's1', '--live')).toMatch(
          /^Operation not supported: .*shadow/,
        );
        expect(await remains(guest)).toEqual([]);
        await lab().waitForTick(guest.name, before + 1);
        return;
      }
      await virsh('snapshot-create-as', guest.name, 's1', '--live');
      await lab().waitForTick(guest.name, before + 1);
      const after = tick(guest);
      await lab().waitForTick(guest.name, after + 3);
      const first = await revert(guest, 's1');
      expect(first).toBeGreaterThan(before);
      expect(first).toBeLessThanOrEqual(after + 1);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'is snapshot and reverted by its disks when it is off',
    async () => {
      await virsh('snapshot-create-as', guest.name, 'off');
      const then = await lab().diskCount(image);
      expect(await virsh('snapshot-info', guest.name, 'off')).toContain('State:          shutoff');
      await lab().startGuest(guest.name);
      const ticks = lab().tickRuns(guest.name).length;
      await lab().waitForTicks(guest.name, () => last(lab().tickRuns(guest.name)[ticks - 1] ?? []) >= 3);
      await virsh('snapshot-revert', guest.name, 'off');
      expect(await virsh('domstate', guest.name)).toBe('shut off');
      expect(await lab().diskCount(image)).toBe(then);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

describe('what is refused, with nothing changed', () => {
  const guest = guestOf('pvh', 1);

  beforeAll(async () => {
    await lab().startGuest(guest.name);
  }, LAB_TEST_TIMEOUT_MS);

  afterAll(async () => {
    await lab().sh(`virsh -c xen:///system destroy ${guest.name}`);
  });

  test('Domain-0', async () => {
    expect(await refusal('snapshot-create-as', 'Domain-0', 's1')).toMatch(
      /^Requested operation is not valid: .*Domain-0/,
    );
  });

  test('a paused guest', async () => {
    await virsh('suspend', guest.name);
    expect(await refusal('snapshot-create-as', guest.name, 's1')).toMatch(
      /^Requested operation is not valid: Domain '\d+' has to be running because libxenlight will suspend it/,
    );
    expect(await virsh('domstate', guest.name)).toBe('paused');
    await virsh('resume', guest.name);
    expect(await remains(guest)).toEqual([]);
  });

  test(
    'a second snapshot of the same name',
    async () => {
      await virsh('snapshot-create-as', guest.name, 's1');
      const sums = () => lab().must(`cd ${METADATA}/${guest.name} && sha256sum *; stat -c '%n %s %Y' ${MEMORY}/*/*`);
      const before = await sums();
      expect(await refusal('snapshot-create-as', guest.name, 's1')).toBe(
        'operation failed: domain moment s1 already exists',
      );
      expect(await sums()).toBe(before);
      const now = tick(guest);
      await lab().waitForTick(guest.name, now + 1);
      await virsh('snapshot-delete', guest.name, 's1');
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test('names that are no file names', async () => {
    expect(await refusal('snapshot-create-as', guest.name, 'a/b')).toBe(
      "invalid snapshot name 'a/b': name can't contain '/'",
    );
    expect(await refusal('snapshot-create-as', guest.name, '.a')).toBe(
      "invalid snapshot name '.a': name can't start with '.'",
    );
  });

  test(
    'a guest with a raw second disk, which is named',
    async () => {
      const raw: LabGuest = {
        name: 'g-raw',
        type: 'pvh',
        memoryMiB: 96,
        disks: [
          { format: 'qcow2', path: `${IMAGES}/g-raw-0.qcow2` },
          { format: 'raw', path: `${IMAGES}/g-raw-1.raw` },
        ],
      };
      await lab().defineGuest(raw);
      await lab().startGuest(raw.name);
      expect(await refusal('snapshot-create-as', raw.name, 's1')).toBe(
        'unsupported configuration: internal snapshot for disk xvdb unsupported for storage type raw',
      );
      expect(await snapshotsIn(`${IMAGES}/g-raw-0.qcow2`)).toEqual([]);
      const now = tick(raw);
      await lab().waitForTick(raw.name, now + 1);
      await virsh('destroy', raw.name);
      await virsh('undefine', raw.name);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

describe('clients see lifecycle events', () => {
  const guest = guestOf('pvh', 1);

  test(
    'of a revert as of a snapshot, and none of the work underneath',
    async () => {
      await lab().startGuest(guest.name);
      await lab().must(
        `virsh -c xen:///system event --domain ${guest.name} --event lifecycle --loop > /run/lab/events 2>&1 & ` +
          'echo $! > /run/lab/events.pid; sleep 2',
      );
      await create(guest, 's1');
      await revert(guest, 's1');
      await lab().must('sleep 1; kill $(cat /run/lab/events.pid)');
      const seen = (await lab().must('cat /run/lab/events')).match(/(?<=: ).*$/gm);
      expect(seen).toEqual([
        'Suspended Paused',
        'Resumed Unpaused',
        'Stopped Snapshot',
        'Started Snapshot',
        'Resumed Snapshot',
        'Defined Snapshot',
      ]);
      await virsh('destroy', guest.name);
      await virsh('snapshot-delete', guest.name, 's1');
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

describe('xlsnapd --mechanism libxl that cannot work says what is missing, in one line', () => {
  const run = async (hide: string) =>
    await lab().sh(
      `unshare -m bash -c '${hide}; cd /mnt/lab/checkout; timeout 180 node dist/daemon/main.js --mechanism libxl --listen /run/lab/other ` +
        `--state-dir /run/lab/state --snapshot-dir /run/lab/snapshot --memory-dir /run/lab/memory'`,
      { timeoutMs: 240_000 },
    );

  test(
    'libxenlight',
    async () => {
      const { rc, stderr } = await run(
        'for f in /usr/lib/x86_64-linux-gnu/libxenlight.so.*; do mount --bind /dev/null $f; done',
      );
      expect(rc).toBe(1);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(stderr).toMatch(/libxenlight\.so\.4\.17 cannot be used: /);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'Xen',
    async () => {
      const { rc, stderr } = await run('mount -t tmpfs tmpfs /dev/xen; mount -t tmpfs tmpfs /proc/xen');
      expect(rc).toBe(1);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      expect(stderr).toMatch(/Xen/);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

test('xlsnapd takes its sockets away when it is told to stop, and virsh goes to libvirtd again', async () => {
  await lab().stopXlsnapd();
  expect(await lab().must('ls /run/libvirt')).not.toContain('virtxend');
  expect(await refusal('snapshot-list', guestOf('pvh', 1).name)).toMatch(
    /^this function is not supported by the connection driver: virDomain/,
  );
});
