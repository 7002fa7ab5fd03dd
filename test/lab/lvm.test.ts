/** Snapshots of a guest whose disks are logical volumes, one thin and one thick, served by the kernel (blkback). */

import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, useLab } from '../support/lab/lab.ts';

const guest: LabGuest = {
  name: 'g-lvm',
  type: 'pvh',
  memoryMiB: 96,
  disks: [
    { format: 'phy', path: '/dev/my-vg/thin' },
    { format: 'phy', path: '/dev/mapper/my--vg-thick' },
  ],
};
const [thin = '', thick = ''] = guest.disks.map(({ path }) => path);
const { name } = guest;

const lab = useLab(async (host) => {
  await host.sh(`virsh -c xen:///system destroy ${name}; virsh -c xen:///system undefine ${name}`);
  await host.stopXlsnapd();
});

const virsh = (...words: readonly string[]) => lab().ok(...words);
const refusal = (...words: readonly string[]) => lab().refused(...words);
const tick = () => lab().ticks(name).at(-1) ?? 0;
const XLSNAP = 'node /mnt/lab/checkout/dist/cli/main.js';
const INSIDE = ['--disk-only', '--diskspec', 'xvda,snapshot=internal', '--diskspec', 'xvdb,snapshot=internal'];

/** Every volume, what it is made of, and what is left in pool and group. Whether one is open or active is left out. */
const volumes = async () => {
  const fields = 'lv_name,lv_size,pool_lv,origin,lv_tags';
  return await lab().must(`lvs -a --noheadings -o ${fields} my-vg && lvs --noheadings -o data_percent my-vg/pool && \
    vgs --noheadings -o vg_free my-vg`);
};

/** Past dom0's cache, which knows nothing of what blkback writes. */
const hash = (device: string) => lab().must(`dd if=${device} iflag=direct bs=1M status=none | sha256sum`);
const count = async (device: string) =>
  Number(await lab().must(`dd if=${device} iflag=direct bs=512 count=1 status=none | head -c 8`));

/** New contents from one end of each volume to the other; behind the first MiB, where it counts, the guest does not look. */
const fill = async (skipMiB = 0) => {
  for (const device of [thin, thick]) {
    await lab().must(
      `yes $RANDOM$RANDOM | dd of=${device} iflag=fullblock oflag=direct bs=1M seek=${skipMiB} count=${8 - skipMiB} status=none`,
    );
  }
};

const hashes = async (devices: readonly string[] = [thin, thick]) => {
  const found: string[] = [];
  for (const device of devices) found.push(await hash(device));
  return found;
};

/** Of what the snapshot volumes hold. */
const captured = async (snapshot: string) => {
  const names = [`my-vg/thin.xlsnap.${snapshot}`, `my-vg/thick.xlsnap.${snapshot}`];
  await lab().must(`lvchange -qq -y -ay -K ${names.join(' ')}`);
  return await hashes(names.map((each) => `/dev/${each}`));
};

const goesOn = async (ticks = 1) => {
  const runs = lab().tickRuns(name).length;
  await lab().waitForTick(name, tick() + ticks);
  expect(lab().tickRuns(name)).toHaveLength(runs);
};

/** Runs what puts the guest back, for the first tick afterwards. */
const goesBack = async (...words: readonly string[]) => {
  const runs = lab().tickRuns(name).length;
  await virsh(...words);
  await lab().waitForTicks(name, () => lab().tickRuns(name).length > runs);
  return lab().tickRuns(name).at(-1)?.[0] ?? 0;
};

let untouched = '';

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
  await lab().must(`make_volume_group my-vg 256
    lvcreate -qq -y -L 8M -n thick my-vg && lvcreate -qq -y -L 64M --type thin-pool -n pool my-vg
    lvcreate -qq -y -V 8M -T my-vg/pool -n thin && lvchange -qq --addtag backup my-vg/thin my-vg/thick`);
  await lab().defineGuest(guest);
  await fill();
  untouched = await volumes();
}, LAB_TEST_TIMEOUT_MS);

afterEach(async () => {
  await lab().sh(`virsh -c xen:///system destroy ${name}`);
  for (const each of (await virsh('snapshot-list', name, '--name')).split('\n').filter(Boolean)) {
    await virsh('snapshot-delete', name, each);
  }
  expect(await volumes()).toBe(untouched);
}, LAB_TEST_TIMEOUT_MS);

describe('a running guest on volumes', () => {
  test.each([{ flags: [] }, { flags: ['--live'] }])(
    'comes back to the moment of a snapshot $flags in RAM and on both, and goes on when it is deleted',
    async ({ flags }) => {
      await lab().startGuest(name);
      await lab().waitForTick(name, tick() + 2);
      const before = tick();
      await virsh('snapshot-create-as', name, 's1', ...flags);
      await goesOn();
      const after = tick();
      const then = await captured('s1');
      await fill(1);
      await goesOn(2);
      expect(await hashes()).not.toEqual(then);

      await virsh('snapshot-revert', name, 's1', '--paused');
      expect(await virsh('domstate', name)).toBe('paused');
      expect(await hashes()).toEqual(then);
      const counts = [await count(thin), await count(thick)];
      const first = await goesBack('resume', name);
      expect(first).toBeGreaterThan(before);
      expect(first).toBeLessThanOrEqual(after + 1);
      for (const onDisk of counts) expect([first - 1, first - 2]).toContain(onDisk);
      await goesOn(2);
      expect(await captured('s1')).toEqual(then);

      await virsh('snapshot-delete', name, 's1');
      await goesOn();
      expect(await volumes()).toBe(untouched);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'has a snapshot of the volumes alone, which takes it back shut off',
    async () => {
      await lab().startGuest(name);
      await lab().waitForTick(name, tick() + 2);
      await virsh('snapshot-create-as', name, 's1', ...INSIDE);
      expect(await virsh('snapshot-info', name, 's1')).toContain('Location:       internal');
      const then = await captured('s1');
      await goesOn(2);
      await virsh('snapshot-revert', name, 's1');
      expect(await virsh('domstate', name)).toBe('shut off');
      expect(await hashes()).toEqual(then);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

describe('a guest that is off', () => {
  test(
    'goes back to an older snapshot and forth to the newer, whatever was written over each volume between them',
    async () => {
      const old = await hashes();
      await virsh('snapshot-create-as', name, 'before my upgrade');
      await fill();
      const later = await hashes();
      await virsh('snapshot-create-as', name, 's2');
      await fill();
      await virsh('snapshot-revert', name, 'before my upgrade');
      expect(await hashes()).toEqual(old);
      await fill();
      await virsh('snapshot-revert', name, 's2');
      expect(await hashes()).toEqual(later);
      await virsh('snapshot-revert', name, 'before my upgrade');
      expect(await hashes()).toEqual(old);
      await virsh('snapshot-delete', name, 'before my upgrade');
      expect(await hashes()).toEqual(old);
      expect(await captured('s2')).toEqual(later);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'cannot be started in the middle of a revert, which goes on with the merge that it finds',
    async () => {
      const then = await hashes();
      await virsh('snapshot-create-as', name, 's1');
      await fill();
      // What LVM makes of a volume that somebody opens between the daemon's look and the merge.
      await lab().must(`lvchange -qq --addtag xlsnap.revert.thick.xlsnap.s1 my-vg/thick
        lvrename -qq my-vg thick thick.xlsnap-old
        (exec 9< /dev/my-vg/thick.xlsnap-old; lvconvert -y --merge my-vg/thick.xlsnap.s1 | grep 'on next activation')
        lvcreate -qq -y -s -n thin.xlsnap-pre my-vg/thin`);
      const { stdout } = await lab().sh(`${XLSNAP} doctor`);
      expect(stdout).toContain("volume 'my-vg/thick.xlsnap-old' is a disk of domain 'g-lvm', under another name");
      const [, removal = ''] = /^volume 'my-vg\/thin\.xlsnap-pre' holds .*\n.*: (lvremove .*?);/m.exec(stdout) ?? [];
      await lab().must(removal);
      expect(await volumes()).not.toContain('xlsnap-pre');
      expect(await refusal('start', name)).toMatch(/^Failed to start domain 'g-lvm'/);
      expect(await refusal('snapshot-delete', name, 's1')).toMatch(/it is being merged into .*: revert to it first$/);
      await virsh('snapshot-revert', name, 's1');
      expect(await hashes()).toEqual(then);
      expect(await captured('s1')).toEqual(then);
    },
    LAB_TEST_TIMEOUT_MS,
  );
});

describe('what is refused, with nothing changed', () => {
  /** The guest has not noticed, and no volume is another. */
  const refusedLive = async (text: RegExp | string, ...words: readonly string[]) => {
    const before = await volumes();
    const said = await refusal(...words);
    if (typeof text === 'string') expect(said).toBe(text);
    else expect(said).toMatch(text);
    await goesOn();
    expect(await volumes()).toBe(before);
  };

  test(
    'an external snapshot, a name that is taken, and one for which the group has no space',
    async () => {
      await lab().startGuest(name);
      await refusedLive(
        "unsupported configuration: source for disk 'xvda' is not a regular file; refusing to generate external snapshot name; " +
          'for a snapshot of the volume itself: --diskspec xvda,snapshot=internal',
        ...['snapshot-create-as', name, 's1', '--disk-only'],
      );
      await refusedLive(
        "unsupported configuration: external snapshot for disk xvda unsupported for backend phy: qdisk is needed (driver name='qemu')",
        ...['snapshot-create-as', name, 's1', '--disk-only', '--diskspec', 'xvda,file=/run/lab/overlay'],
        ...['--diskspec', 'xvdb,snapshot=no'],
      );
      await lab().must(
        'lvcreate -qq -y -L 16M -n other my-vg && lvcreate -qq -y -s -L 4M -n thick.xlsnap.s1 my-vg/other',
      );
      await refusedLive(
        "operation failed: disk 'xvdb' already has a snapshot volume 'my-vg/thick.xlsnap.s1': choose another name",
        ...['snapshot-create-as', name, 's1'],
      );
      await lab().must('lvremove -qq -y my-vg/other && lvcreate -qq -y -l 100%FREE -n other my-vg');
      await refusedLive(
        /^operation failed: cannot create snapshot 's1' of disk 'xvdb': .*(insufficient|Insufficient)/s,
        ...['snapshot-create-as', name, 's1'],
      );
      await lab().must('lvremove -qq -y my-vg/other');
      expect(await lab().must('find /var/lib/libvirt/libxl/snapshot-memory -type f ! -name .xlsnapd.lock')).toBe('');
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'a revert to a thick snapshot that has overflowed, or of a volume that the host has devices on',
    async () => {
      await lab().startGuest(name);
      await virsh('snapshot-create-as', name, 's1', ...INSIDE);
      await lab().must('dmsetup create part --table "0 100 linear /dev/my-vg/thin 0"');
      await refusedLive(
        /^Failed to revert snapshot s1\nRequested operation is not valid: volume 'my-vg\/thin' of disk 'xvda' is in use by dm-\d+$/,
        ...['snapshot-revert', name, 's1'],
      );
      await lab().must('dmsetup remove part');
      // Ours cannot overflow. One extent is soon too little for what the guest writes.
      await lab().must(
        'lvremove -qq -y my-vg/thick.xlsnap.s1 && lvcreate -qq -y -s -l 1 -n thick.xlsnap.s1 my-vg/thick',
      );
      await fill(1);
      await refusedLive(
        'Failed to revert snapshot s1\nRequested operation is not valid: ' +
          "snapshot 's1' of volume 'my-vg/thick' of disk 'xvdb' (volume 'thick.xlsnap.s1') is invalid: " +
          'it has overflowed and can only be deleted',
        ...['snapshot-revert', name, 's1'],
      );
      const { stdout } = await lab().sh(`${XLSNAP} verify ${name}`);
      expect(stdout).toMatch(/it has overflowed.*\n.*xlsnap snapshot-delete g-lvm s1$/m);
    },
    LAB_TEST_TIMEOUT_MS,
  );

  test(
    'a revert of volumes that are not active, or in use by somebody else',
    async () => {
      await virsh('snapshot-create-as', name, 's1');
      await lab().must('vgchange -qq -an my-vg');
      expect(await refusal('snapshot-revert', name, 's1')).toMatch(
        /volume 'my-vg\/thin' of disk 'xvda' is not active: activate it \(lvchange -ay my-vg\/thin\)$/,
      );
      await lab().must('vgchange -qq -ay my-vg && (setsid sleep 300 < /dev/my-vg/thick & echo $! > /run/lab/holder)');
      expect(await refusal('snapshot-revert', name, 's1')).toMatch(
        /volume 'my-vg\/thick' of disk 'xvdb' is in use by somebody else$/,
      );
      await lab().must('kill $(< /run/lab/holder)');
      await virsh('snapshot-revert', name, 's1');
    },
    LAB_TEST_TIMEOUT_MS,
  );
});
