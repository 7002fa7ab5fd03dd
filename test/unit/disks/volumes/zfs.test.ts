import { describe, expect, test } from '@jest/globals';
import { ZFS } from '../../../../src/disks/volumes/zfs.ts';
import type { LibxlDiskSnapshot } from '../../../../src/model/libxl.ts';
import { fakeVolumes, phy } from '../../../support/disks/fake-volumes.ts';

const disks = [
  phy('xvda', '/dev/zvol/tank/a'),
  phy('xvdb', '/dev/zvol/tank/b'),
  phy('xvdc', '/dev/zvol/fast/c'),
] as const;

const create = (name: string, disks: readonly LibxlDiskSnapshot[]) => ZFS.create(name, disks, new Set());

function pools() {
  return fakeVolumes({ 'tank/a': { contents: 'a1' }, 'tank/b': { contents: 'b1' }, 'fast/c': { contents: 'c1' } });
}

describe('creating', () => {
  test('takes all volumes of a pool in one transaction', async () => {
    await using zfs = await pools();
    await create('s1', disks);
    expect(await zfs.log()).toEqual([
      'zfs snapshot tank/a@xlsnap.s1 tank/b@xlsnap.s1',
      'zfs snapshot fast/c@xlsnap.s1',
    ]);
  });

  test('takes back what another pool has made before a failure', async () => {
    await using zfs = await pools();
    await zfs.fail('zfs snapshot 2');
    await expect(create('s1', disks)).rejects.toThrow(
      "cannot create snapshot 's1' of disk 'xvdc': zfs snapshot: made to fail",
    );
    expect(Object.keys(await zfs.volumes())).toEqual(['tank/a', 'tank/b', 'fast/c']);
  });

  test('refuses a name that one of the volumes has already', async () => {
    await using zfs = await pools();
    await create('s1', disks.slice(1, 2));
    await expect(ZFS.checkFree('s1', disks)).rejects.toThrow(
      "disk 'xvdb' already has a snapshot 'tank/b@xlsnap.s1': choose another name",
    );
    await expect(create('s1', disks)).rejects.toThrow('already exists');
    expect(await zfs.contents('fast/c@xlsnap.s1')).toBeUndefined();
  });

  test.each([
    ['before upgrade', 'tank/a@xlsnap.before:20upgrade'],
    ['a@b/ü:', 'tank/a@xlsnap.a:40b:2F:C3:BC:3A'],
  ])('the name %j becomes one that ZFS allows', async (name, expected) => {
    await using zfs = await pools();
    await create(name, disks.slice(0, 1));
    expect(Object.keys(await zfs.volumes())).toContain(expected);
  });

  test('refuses a name that is too long for ZFS', async () => {
    await using _ = await pools();
    await expect(create('x'.repeat(250), disks)).rejects.toMatchObject({ code: 'CONFIG_UNSUPPORTED' });
  });
});

describe('reverting', () => {
  test('rolls back, and can be repeated', async () => {
    await using zfs = await pools();
    await create('s1', disks);
    for (const contents of ['a2', 'a3']) {
      await zfs.change('tank/a', { contents });
      await ZFS.revert('s1', disks);
      expect(await zfs.contents('tank/a')).toBe('a1');
    }
  });

  test('is refused where ZFS would destroy newer snapshots, naming them; no volume is touched', async () => {
    await using zfs = await pools();
    await create('s1', disks);
    await create('s2', disks.slice(1, 2));
    await zfs.change('tank/b@daily', { contents: 'b2' });
    await zfs.change('tank/a', { contents: 'a2' });
    const text =
      "volume 'tank/b' of disk 'xvdb' cannot be reverted to snapshot 's1': ZFS would destroy the newer 'tank/b@xlsnap.s2', 'tank/b@daily'; delete them first";
    await expect(ZFS.revert('s1', disks)).rejects.toMatchObject({ code: 'OPERATION_FAILED', detail: text });
    await expect(ZFS.check('s1', disks, new Set())).rejects.toMatchObject({ code: 'OPERATION_INVALID', detail: text });
    expect(await zfs.contents('tank/a')).toBe('a2');
  });

  test('is refused if ZFS would destroy a newer bookmark', async () => {
    await using zfs = await pools();
    await create('s1', disks.slice(0, 1));
    await ZFS.check('s1', disks.slice(0, 1), new Set());
    await zfs.change('tank/a#sent', { contents: '' });
    await expect(ZFS.check('s1', disks.slice(0, 1), new Set())).rejects.toThrow(
      "ZFS would destroy the newer 'tank/a#sent'; delete them first",
    );
  });

  test('to a snapshot that is not there is refused', async () => {
    await using _ = await pools();
    const refused = ZFS.check('s9', disks, new Set());
    await expect(refused).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: "volume 'tank/a' of disk 'xvda' has no snapshot 's9'",
    });
  });
});

test('deleting destroys the snapshot; one that is gone is no error', async () => {
  await using zfs = await pools();
  await create('s1', disks);
  await ZFS.delete('s1', disks);
  await ZFS.delete('s1', disks);
  expect(Object.keys(await zfs.volumes())).toEqual(['tank/a', 'tank/b', 'fast/c']);
});

test('a delete is refused by ZFS while there is a clone of the snapshot, when it is asked and nothing is destroyed', async () => {
  await using zfs = await pools();
  for (const name of ['s1', 's2']) await create(name, disks);
  const [{ disk }] = disks;
  await ZFS.checkDelete(disk, ['s1', 's2', 'gone'], new Set());
  await zfs.change('tank/a@xlsnap.s2', { clone: 'tank/copy' });
  await expect(ZFS.checkDelete(disk, ['s1', 's2'], new Set())).rejects.toThrow(
    "cannot delete snapshot 's2' of disk 'xvda': cannot destroy 'tank/a@xlsnap.s2': snapshot has dependent clones",
  );
  expect(Object.keys(await zfs.volumes())).toContain('tank/a@xlsnap.s1');
});

test('snapshots of ours are told from their names, and nobody else’s', async () => {
  await using zfs = await pools();
  const names = ['s1', 'before upgrade', 'a@b/ü:'];
  for (const name of names) await create(name, disks.slice(0, 1));
  await create('other', disks.slice(1, 2));
  for (const name of ['nightly', 'xlsnap.no:t']) await zfs.change(`tank/a@${name}`, { contents: '' });
  const listed = await ZFS.list(phy('xvda', '/dev/zvol/tank/a').disk);
  expect(listed.map(({ snapshot }) => snapshot)).toEqual(names);
  expect(listed[1]?.place).toBe('tank/a@xlsnap.before:20upgrade');
});
