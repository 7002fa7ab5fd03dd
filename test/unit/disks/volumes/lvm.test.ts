import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, jest, test } from '@jest/globals';
import { requireVolume } from '../../../../src/disks/volumes/logical-volumes.ts';
import { LVM } from '../../../../src/disks/volumes/lvm.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import { fakeVolumes, phy } from '../../../support/disks/fake-volumes.ts';

const THIN = { contents: 'a1', pool: 'pool0' };
const THICK = { contents: 'b1' };
const disks = [phy('xvda', '/dev/vg/thin'), phy('xvdb', '/dev/vg/thick')];
const thin = disks.slice(0, 1);
const thick = disks.slice(1);

const create = (name: string, disks: readonly LibxlDiskSnapshot[]) => LVM.create(name, disks, new Set());

function group() {
  return fakeVolumes({ 'vg/pool0': { contents: '' }, 'vg/thin': THIN, 'vg/thick': THICK });
}

describe('creating', () => {
  test('a snapshot volume of each, a thick one of its origin’s size so that it cannot overflow', async () => {
    await using lvm = await group();
    await create('s1', disks);
    expect(await lvm.log()).toEqual([
      'lvcreate -y -s -n thin.xlsnap.s1 -- vg/thin',
      'lvcreate -y -s -l 100%ORIGIN -n thick.xlsnap.s1 -- vg/thick',
    ]);
    expect(await lvm.contents('vg/thin.xlsnap.s1')).toBe('a1');
  });

  test('what was made before a failure is removed again', async () => {
    await using lvm = await group();
    await lvm.fail('lvcreate 2');
    await expect(create('s1', disks)).rejects.toThrow(
      "operation failed: cannot create snapshot 's1' of disk 'xvdb': lvcreate: made to fail",
    );
    expect(Object.keys(await lvm.volumes())).toEqual(['vg/pool0', 'vg/thin', 'vg/thick']);
  });

  test('what cannot be removed again is named', async () => {
    await using lvm = await group();
    await lvm.fail('lvcreate 2', 'lvremove 1');
    await expect(create('s1', disks)).rejects.toThrow(
      "lvcreate: made to fail; left over: cannot remove volume 'vg/thin.xlsnap.s1' of disk 'xvda'",
    );
  });

  test('a name that is taken is refused, and leaves no snapshot of the other volumes', async () => {
    await using lvm = await group();
    await create('s1', thick);
    await expect(LVM.checkFree('s1', disks)).rejects.toThrow(
      "disk 'xvdb' already has a snapshot volume 'vg/thick.xlsnap.s1': choose another name",
    );
    await expect(create('s1', disks)).rejects.toThrow('already exists');
    expect(await lvm.contents('vg/thin.xlsnap.s1')).toBeUndefined();
  });

  test.each([
    ['before upgrade', 'thin.xlsnap.before+20upgrade'],
    ['_tdata', 'thin.xlsnap.+5Ftdata'],
    ['ü/+', 'thin.xlsnap.+C3+BC+2F+2B'],
    ['s-1.a', 'thin.xlsnap.s-1.a'],
    ['x'.repeat(120), /^xlsnap-[0-9a-f]{32}$/],
    ['-'.repeat(56), /^xlsnap-[0-9a-f]{32}$/],
  ])('the name %j becomes one that LVM allows', async (name, expected) => {
    await using lvm = await group();
    await create(name, thin);
    const made =
      Object.keys(await lvm.volumes())
        .at(-1)
        ?.slice('vg/'.length) ?? '';
    if (typeof expected === 'string') expect(made).toBe(expected);
    else expect(made).toMatch(expected);
    expect(`vg-${made}`.replaceAll('-', '--').length).toBeLessThanOrEqual(122);
    await LVM.delete(name, thin);
    expect(Object.keys(await lvm.volumes())).toHaveLength(3);
  });
});

describe('reverting a thin volume', () => {
  test('swaps a snapshot of the snapshot in; it can be reverted to again', async () => {
    await using lvm = await group();
    await create('s1', thin);
    for (const contents of ['a2', 'a3']) {
      await lvm.change('vg/thin', { contents });
      await LVM.revert('s1', thin);
      expect(await lvm.contents('vg/thin')).toBe('a1');
    }
    expect(Object.keys(await lvm.volumes()).sort()).toEqual(['vg/pool0', 'vg/thick', 'vg/thin', 'vg/thin.xlsnap.s1']);
    expect((await lvm.log()).slice(1, 5)).toEqual([
      'lvcreate -y -s -kn -n thin.xlsnap-new -- vg/thin.xlsnap.s1',
      'lvrename -- vg thin thin.xlsnap-old',
      'lvrename -- vg thin.xlsnap-new thin',
      'lvremove -y -- vg/thin.xlsnap-old',
    ]);
  });

  test('keeps the volume’s tags', async () => {
    await using lvm = await group();
    await create('s1', thin);
    await lvm.change('vg/thin', { tags: ['backup', 'xen1'] });
    await LVM.revert('s1', thin);
    expect((await lvm.volumes())['vg/thin']?.tags).toEqual(['backup', 'xen1']);
  });

  test.each(['lvcreate 1', 'lvrename 1', 'lvrename 2', 'lvremove 1'])('goes on after a failure of %s', async (fail) => {
    await using lvm = await group();
    await create('s1', thin);
    await lvm.change('vg/thin', { contents: 'a2' });
    await lvm.fail(fail);
    await expect(LVM.revert('s1', thin)).rejects.toThrow('made to fail');
    expect(await lvm.contents('vg/thin')).toBeDefined();
    await lvm.fail();
    await LVM.revert('s1', thin);
    expect(await lvm.contents('vg/thin')).toBe('a1');
    expect(Object.keys(await lvm.volumes()).sort()).toEqual(['vg/pool0', 'vg/thick', 'vg/thin', 'vg/thin.xlsnap.s1']);
  });

  test('a crash between the two renames is no dead end: check, revert, and a revert to another snapshot go on', async () => {
    await using lvm = await fakeVolumes({
      'vg/pool0': { contents: '' },
      'vg/thin.xlsnap-old': { ...THIN, contents: 'current' },
      'vg/thin.xlsnap-new': { ...THIN, contents: 'of s1' },
      'vg/thin.xlsnap.s1': { ...THIN, contents: 'of s1' },
      'vg/thin.xlsnap.s2': { ...THIN, contents: 'of s2' },
    });
    await LVM.check('s1', thin, new Set());
    await LVM.revert('s2', thin);
    expect(await lvm.contents('vg/thin')).toBe('of s2');
    await LVM.revert('s1', thin);
    expect(await lvm.contents('vg/thin')).toBe('of s1');
    expect(Object.keys(await lvm.volumes())).toHaveLength(4);
  });
});

describe('reverting a thick volume', () => {
  test('merges the snapshot and takes it anew', async () => {
    await using lvm = await group();
    await create('s1', thick);
    for (const contents of ['b2', 'b3']) {
      await lvm.change('vg/thick', { contents });
      await LVM.revert('s1', thick);
      expect(await lvm.contents('vg/thick')).toBe('b1');
      expect(await lvm.contents('vg/thick.xlsnap.s1')).toBe('b1');
    }
    expect((await lvm.volumes())['vg/thick']?.tags).toEqual([]);
    expect((await lvm.log()).slice(1, 7)).toEqual([
      'lvchange --addtag xlsnap.revert.thick.xlsnap.s1 -- vg/thick',
      'lvrename -- vg thick thick.xlsnap-old',
      'lvconvert -y --merge -- vg/thick.xlsnap.s1',
      'lvcreate -y -s -l 100%ORIGIN -n thick.xlsnap.s1 -- vg/thick.xlsnap-old',
      'lvrename -- vg thick.xlsnap-old thick',
      'lvchange --deltag xlsnap.revert.thick.xlsnap.s1 -- vg/thick',
    ]);
  });

  test.each(['lvchange 1', 'lvrename 1', 'lvconvert 1', 'lvcreate 1', 'lvrename 2', 'lvchange 2'])(
    'goes on after a failure of %s',
    async (fail) => {
      await using lvm = await group();
      await create('s1', thick);
      await lvm.change('vg/thick', { contents: 'b2' });
      await lvm.fail(fail);
      await expect(LVM.revert('s1', thick)).rejects.toThrow('made to fail');
      await lvm.fail();
      await LVM.check('s1', thick, new Set());
      await LVM.revert('s1', thick);
      expect(await lvm.contents('vg/thick')).toBe('b1');
      expect(await lvm.contents('vg/thick.xlsnap.s1')).toBe('b1');
      expect((await lvm.volumes())['vg/thick']?.tags).toEqual([]);
    },
  );

  test('that has failed before anything is merged leaves the volume to the guest', async () => {
    await using lvm = await group();
    await create('s1', thick);
    await lvm.fail('lvconvert 1');
    await expect(LVM.revert('s1', thick)).rejects.toThrow('made to fail');
    expect(await lvm.contents('vg/thick')).toBe('b1');
  });

  const merged = () => ({
    'vg/thick.xlsnap-old': { contents: 'of s1', tags: ['backup', 'xlsnap.revert.thick.xlsnap.s1'] },
    'vg/thick.xlsnap.s2': { contents: 'of s2', origin: 'thick.xlsnap-old' },
  });

  test('to another snapshot first takes anew what an interrupted attempt has merged', async () => {
    await using lvm = await fakeVolumes(merged());
    await LVM.check('s2', thick, new Set());
    await LVM.revert('s2', thick);
    const volumes = await lvm.volumes();
    expect(volumes['vg/thick']).toMatchObject({ contents: 'of s2', tags: ['backup'] });
    expect(volumes['vg/thick.xlsnap.s1']?.contents).toBe('of s1');
    expect(volumes['vg/thick.xlsnap.s2']?.contents).toBe('of s2');
  });

  test('that was interrupted is given up by deleting the snapshot, and by no other deletion', async () => {
    await using lvm = await fakeVolumes(merged());
    await LVM.delete('s2', thick);
    expect(await lvm.contents('vg/thick')).toBeUndefined();
    await LVM.delete('s1', thick);
    expect(await lvm.volumes()).toEqual({ 'vg/thick': { contents: 'of s1', tags: ['backup'] } });
  });

  test('goes on where LVM has put the merge off; until then the snapshot is not deleted', async () => {
    const [origin, snapshot] = ['vg/thick.xlsnap-old', 'vg/thick.xlsnap.s1'];
    await using lvm = await fakeVolumes({
      [origin]: { contents: 'b2', tags: ['xlsnap.revert.thick.xlsnap.s1'], merging: snapshot },
      [snapshot]: { contents: 'b1', origin: 'thick.xlsnap-old' },
      'vg/thin': THIN,
      'vg/thin.xlsnap.s1': THIN,
    });
    const merging =
      "cannot delete snapshot 's1' of disk 'xvdb': it is being merged into 'vg/thick.xlsnap-old': revert to it first";
    await expect(LVM.delete('s1', disks)).rejects.toThrow(merging);
    for (const { disk } of thick) await expect(LVM.checkDelete(disk, ['s1'], new Set())).rejects.toThrow(merging);
    await LVM.revert('s1', disks);
    expect(await lvm.contents('vg/thick')).toBe('b1');
    expect(await lvm.contents(snapshot)).toBe('b1');
  });
});

test('reverting waits for a volume that is closed late', async () => {
  await using lvm = await group();
  await create('s1', thin);
  await lvm.change('vg/thin', { contents: 'a2', open: true });
  const reverted = LVM.revert('s1', thin);
  await delay(1_000);
  await lvm.change('vg/thin', { open: false });
  await reverted;
  expect(await lvm.contents('vg/thin')).toBe('a1');
});

test('reverting is refused while one of the volumes is in use, and none is touched', async () => {
  await using lvm = await group();
  await create('s1', disks);
  await lvm.change('vg/thin', { contents: 'a2' });
  await lvm.change('vg/thick', { open: true });
  // Each look at the clock finds a second gone: five seconds of waiting are five attempts.
  let now = Date.now();
  const clock = jest.spyOn(Date, 'now').mockImplementation(() => (now += 1_000));
  try {
    await expect(LVM.revert('s1', disks)).rejects.toThrow(
      "cannot revert disk 'xvdb' to snapshot 's1': volume 'vg/thick' is in use",
    );
  } finally {
    clock.mockRestore();
  }
  expect(await lvm.contents('vg/thin')).toBe('a2');
});

describe('checking refuses with code 55', () => {
  test.each([
    ['a snapshot that is not there', 's2', {}, "volume 'vg/thick' of disk 'xvdb' has no snapshot 's2'"],
    ['one that has overflowed', 's1', { 'vg/thick.xlsnap.s1': { invalid: true } }, 'is invalid: it has overflowed'],
    [
      'a volume that is not active',
      's1',
      { 'vg/thick': { inactive: true } },
      'is not active: activate it (lvchange -ay',
    ],
    ['a volume that somebody else uses', 's1', { 'vg/thick': { open: true } }, 'is in use by somebody else'],
  ])('%s', async (_, name, changes, text) => {
    await using lvm = await group();
    await create('s1', thick);
    for (const [volume, change] of Object.entries(changes)) await lvm.change(volume, change);
    const error = await LVM.check(name, thick, new Set()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'OPERATION_INVALID', detail: expect.stringContaining(text) });
  });

  test('but not a volume that the domain itself has open', async () => {
    await using lvm = await group();
    await create('s1', disks);
    await lvm.change('vg/thick', { open: true });
    await LVM.check('s1', disks, new Set(['/dev/vg/thick']));
  });
});

test('deleting removes the snapshot volume; one that is gone is no error', async () => {
  await using lvm = await group();
  await create('s1', disks);
  await LVM.delete('s1', disks);
  await LVM.delete('s1', disks);
  expect(Object.keys(await lvm.volumes())).toEqual(['vg/pool0', 'vg/thin', 'vg/thick']);
});

test('a delete is refused if a snapshot volume is in use, or is being merged', async () => {
  await using lvm = await group();
  await create('s1', thick);
  const [disk] = thick.map((each) => each.disk);
  const check = () => (disk ? LVM.checkDelete(disk, ['s1', 'gone'], new Set()) : undefined);
  await check();
  await lvm.change('vg/thick.xlsnap.s1', { open: true });
  await expect(check()).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: "cannot delete snapshot 's1' of disk 'xvdb': volume 'vg/thick.xlsnap.s1' is in use: close it first",
  });
});

describe('which device is a logical volume', () => {
  test.each(['/dev/vg/thin', '/dev/mapper/vg-thin', '/dev/my-vg/a-b', '/dev/mapper/my--vg-a--b'])(
    '%s is',
    async (path) => {
      await using _ = await fakeVolumes({ 'vg/thin': THIN, 'my-vg/a-b': THIN });
      await requireVolume(path);
    },
  );

  test.each([
    ['/dev/sdb', "'/dev/sdb' is not a volume"],
    ['/dev/mapper/crypt', "'/dev/mapper/crypt' is not a volume"],
    ['/dev/disk/by-id/x', "'/dev/disk/by-id/x' is not a volume"],
    ['/dev/other/lv', 'Volume group "other" not found'],
    ['/dev/vg/missing', "volume group 'vg' has no volume 'missing'"],
  ])('%s is not', async (path, text) => {
    await using _ = await fakeVolumes({ 'vg/thin': THIN });
    await expect(requireVolume(path)).rejects.toThrow(text);
  });
});

test('snapshots of ours are told from their names, but for a name that had to become a digest', async () => {
  await using lvm = await group();
  const names = ['s1', 'before upgrade', 'a+b/ü', 'x'.repeat(200)];
  for (const name of names) await create(name, thick);
  await create('other', thin);
  await lvm.change('vg/thick.xlsnap.no+t', { contents: '' });
  await lvm.change('vg/thick.xlsnap-old', { contents: '' });
  const listed = await LVM.list(phy('xvdb', '/dev/vg/thick').disk);
  expect(listed.map(({ snapshot }) => snapshot)).toEqual(names.slice(0, 3));
  expect(listed[1]?.place).toBe('vg/thick.xlsnap.before+20upgrade');
});
