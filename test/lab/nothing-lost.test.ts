/** What made people lose a guest or its data, tried on real Xen: nothing is lost, and what cannot be done is refused first. */

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { useLab } from '../support/lab/lab.ts';
import { type Cell, MatrixGuest } from '../support/lab/matrix-guest.ts';

const lab = useLab((host) => host.stopXlsnapd());

const IMAGES = '/var/lib/libvirt/images';
/** Files that are no guest's own. */
const EXTRA = '/run/lab/extra';

const INTERNAL: Cell = { memory: 'internal', disks: ['internal', 'internal'] };
const DISK_ONLY: Cell = { memory: 'none', disks: ['external', 'external'] };

const virsh = (...words: readonly string[]) => lab().ok(...words);
const refusal = (...words: readonly string[]) => lab().refused(...words);

/** The image of each disk, as clients see it. */
const sources = async (name: string): Promise<Readonly<Record<string, string>>> => {
  const rows = (await virsh('domblklist', name)).split('\n').slice(2);
  return Object.fromEntries(rows.map((row) => row.trim().split(/\s+/)));
};

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
  await lab().must(`mkdir -p ${EXTRA}`);
});

describe('a running guest with two disks', () => {
  let guest: MatrixGuest;
  let name: string;

  beforeAll(() => {
    guest = new MatrixGuest(lab(), 'pvh');
    name = guest.name;
  });

  afterAll(() => guest.remove());

  const overlays = (ending: string) => guest.images.map((image) => image.replace(/qcow2$/, ending));
  const boots = async () => {
    expect(await guest.goesBack(() => virsh('start', name))).toBe(1);
  };
  const restarts = async () => {
    await virsh('destroy', name);
    await boots();
  };

  /** The guest writes to these very images. */
  const writesTo = async (images: readonly string[]) => {
    const counts = async () => {
      const found: number[] = [];
      for (const image of images) found.push(await lab().diskCount(image));
      return found;
    };
    const before = await counts();
    await guest.goesOn(2);
    const after = await counts();
    for (const [n, count] of after.entries()) expect(count).toBeGreaterThan(before[n] ?? 0);
  };

  /** Resolves when the guest has it: libxl does not wait for its driver. */
  const attach = async (image: string) => {
    const driver = ['--driver', 'qemu', '--subdriver', 'qcow2', '--targetbus', 'xen'];
    await virsh('attach-disk', name, image, 'xvdc', ...driver, '--live');
    await lab().must(`
      connected() { xl block-list ${name} | awk '$1 == 51744 { print $4 }' | grep -qx 4; }
      until_true 120 connected || fail "$(xl block-list ${name})"`);
  };
  const detach = () => virsh('detach-disk', name, 'xvdc', '--live');

  /** No snapshot is left, and the guest runs, on its own images. */
  const isAsBefore = async () => {
    await guest.goesOn();
    await guest.isAsBefore();
  };

  test('case E: boots from the overlays of a snapshot whose name has a space; an overlay with a space in its path is refused', async () => {
    await guest.keeping(async () => {
      const spec = `xvda,file=${IMAGES}/a b`;
      expect(await refusal('snapshot-create-as', name, 's1', '--disk-only', '--diskspec', spec)).toMatch(
        /^unsupported configuration: overlay '.*\/a b' of disk 'xvda' has white space/,
      );
      await virsh(...guest.create('before upgrade', DISK_ONLY));
      await restarts();
      expect(Object.values(await sources(name))).toEqual(overlays('before%20upgrade'));
      await writesTo(overlays('before%20upgrade'));
      await virsh('snapshot-delete', name, 'before upgrade');
      await isAsBefore();
    });
  });

  test('case A: is on images that are there when a delete is refused for the second of its disks, running and off', async () => {
    await guest.keeping(async () => {
      await virsh(...guest.create('e1', DISK_ONLY));
      const [, second] = overlays('e1');
      await virsh('destroy', name);
      await lab().must(`qemu-img snapshot -c mine ${second}`);
      const before = await guest.look();
      expect(before.tips).toEqual(overlays('e1'));
      const lost = /internal snapshots in it \('mine'\) would be lost/;
      expect(await refusal('snapshot-delete', name, 'e1')).toMatch(lost);
      expect(await guest.look()).toEqual(before);
      await boots();
      expect(await refusal('snapshot-delete', name, 'e1')).toMatch(lost);
      expect(await guest.look()).toEqual(before);
      await writesTo(overlays('e1'));
      await virsh('destroy', name);
      await lab().must(`qemu-img snapshot -d mine ${second}`);
      await boots();
      await virsh('snapshot-delete', name, 'e1');
      await isAsBefore();
    });
  });

  test('case B: comes back on its overlays by the plain virsh restore of a memory file, and the snapshot beneath them stays', async () => {
    await guest.keeping(async () => {
      await virsh(...guest.create('e1', DISK_ONLY));
      const bases = await guest.hashes(guest.images);
      const file = `${EXTRA}/hdr.save`;
      const left = ['--diskspec', 'xvda,snapshot=no', '--diskspec', 'xvdb,snapshot=no'];
      await virsh('snapshot-create-as', name, 'hdr', '--memspec', `file=${file}`, ...left);
      const after = guest.tick;
      await guest.goesOn(2);
      await virsh('destroy', name);
      expect(await guest.goesBack(() => virsh('restore', file))).toBeLessThanOrEqual(after + 1);
      await writesTo(overlays('e1'));
      expect(Object.values(await sources(name))).toEqual(overlays('e1'));
      expect(await guest.hashes(guest.images)).toEqual(bases);
      await virsh('snapshot-delete', name, 'hdr');
      expect(await guest.goesBack(() => virsh('snapshot-revert', name, 'e1', '--running'))).toBe(1);
      await virsh('snapshot-delete', name, 'e1');
      await isAsBefore();
    });
  });

  test('case C: is shown with the disk that was attached in another’s place, and keeps its overlays until that one is back', async () => {
    await guest.keeping(async () => {
      const [first, other] = [`${EXTRA}/h2.qcow2`, `${EXTRA}/h3.qcow2`];
      await lab().must([first, other].map((image) => `qemu-img create -q -f qcow2 ${image} 16M`).join(' && '));
      await attach(first);
      await virsh('snapshot-create-as', name, 'e1', '--disk-only');
      const overlay = `${EXTRA}/h2.e1`;
      expect((await sources(name)).xvdc).toBe(overlay);
      await detach();
      await attach(other);
      expect((await sources(name)).xvdc).toBe(other);
      await virsh('snapshot-create-as', name, 'e2', '--disk-only');
      expect((await sources(name)).xvdc).toBe(`${EXTRA}/h3.e2`);
      await virsh('snapshot-delete', name, 'e2');
      await writesTo([...overlays('e1'), other]);
      expect(await refusal('snapshot-delete', name, 'e1')).toContain(`disk 'xvdc' of the domain is '${other}' now`);
      await writesTo(overlays('e1'));
      await detach();
      await attach(overlay);
      await virsh('snapshot-delete', name, 'e1');
      await writesTo([...guest.images, first]);
      await restarts();
      await isAsBefore();
    });
  });

  test('case 2: is neither captured nor ended for a revert while one of its images has a dirty bitmap', async () => {
    await guest.keeping(async () => {
      const [, second] = guest.images;
      await virsh(...guest.create('s1', INTERNAL));
      const after = guest.tick;
      await virsh('destroy', name);
      await lab().must(`qemu-img bitmap --add ${second} b0`);
      await boots();
      expect(await refusal(...guest.create('s2', INTERNAL))).toMatch(
        /^unsupported configuration: disk 'xvdb': image '.*' has dirty bitmap 'b0'/,
      );
      expect(await refusal('snapshot-revert', name, 's1')).toContain(`qemu-img bitmap --remove ${second} b0`);
      await guest.goesOn();
      await virsh('destroy', name);
      await lab().must(`qemu-img bitmap --remove ${second} b0`);
      const first = await guest.goesBack(() => virsh('snapshot-revert', name, 's1'));
      expect(first).toBeGreaterThan(1);
      expect(first).toBeLessThanOrEqual(after + 1);
      await virsh('snapshot-delete', name, 's1');
      await isAsBefore();
    });
  });

  test('cases 4 and 5: is not merged into an image that another of its disks, or another guest’s by json:, reads', async () => {
    await guest.keeping(async () => {
      const [base = ''] = guest.images;
      await virsh(...guest.create('e1', DISK_ONLY));
      const before = await guest.hashes([base]);
      await lab().must(`qemu-img create -q -f qcow2 -b ${base} -F qcow2 ${EXTRA}/look.qcow2`);
      await attach(`${EXTRA}/look.qcow2`);
      expect(await refusal('snapshot-delete', name, 'e1')).toMatch(/is also used by domain '.*' \(disk 'xvdc'\)/);
      await detach();
      const json = `json:{"driver":"qcow2","file":{"driver":"file","filename":"${base}"}}`;
      await lab().must(`qemu-img create -q -f qcow2 -b '${json}' -F qcow2 ${EXTRA}/clone.qcow2 &&
        define_guest clone pvh 96 qcow2:${EXTRA}/clone.qcow2`);
      expect(await refusal('snapshot-delete', name, 'e1')).toContain(`is also used by domain 'clone' (disk 'xvda')`);
      expect(await guest.hashes([base])).toEqual(before);
      await writesTo(overlays('e1'));
      await virsh('undefine', 'clone');
      await virsh('snapshot-delete', name, 'e1');
      await isAsBefore();
    });
  });

  test('case 14: boots from an overlay that was given, whose header names its base by a link, and is merged into that base', async () => {
    await guest.keeping(async () => {
      const given = `${EXTRA}/given.qcow2`;
      const link = `${EXTRA}/link`;
      await lab().must(`ln -s ${guest.images[0]} ${link} && qemu-img create -q -f qcow2 -b ${link} -F qcow2 ${given}`);
      const specs = ['--diskspec', `xvda,file=${given}`, '--diskspec', 'xvdb,snapshot=no'];
      await virsh('snapshot-create-as', name, 'e1', '--disk-only', '--reuse-external', ...specs);
      expect(await lab().must(`qemu-img info -U ${given}`)).toContain(`backing file: ${link}\n`);
      await restarts();
      await writesTo([given]);
      await virsh('snapshot-delete', name, 'e1');
      await writesTo(guest.images);
      await isAsBefore();
    });
  });
});
