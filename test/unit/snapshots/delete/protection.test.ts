import { expect, test } from '@jest/globals';
import { DELETE } from '../../../../src/model/flags.ts';
import { deleteSnapshot } from '../../../../src/snapshots/delete/delete.ts';
import { checkUnprotected, setProtected } from '../../../../src/snapshots/delete/protection.ts';
import { GUEST, RecordedWorld } from '../../../support/fakes/recorded-world.ts';

/** s1 ← s2 ← s3; `steps` has only what comes after. */
async function scene(world: RecordedWorld) {
  const child = (name: string, parent: string) => world.snapshot(name, 'base', undefined, { parent });
  const snapshots = await world.snapshots(world.snapshot('s1', 'base'), child('s2', 's1'), child('s3', 's2'));
  world.steps.length = 0;
  return snapshots;
}

const refusal = (which: string, them: string, names: string) =>
  `${which} protected; to be able to delete ${them}: xlsnap unprotect g ${names}`;

test('a protected snapshot stays, alone, with its parent, and if only its metadata would go; nothing is touched', async () => {
  await using world = await RecordedWorld.open();
  const snapshots = await scene(world);
  await setProtected(world.context, snapshots, 's2', true);
  await setProtected(world.context, snapshots, 's3', true);
  const alone = refusal("snapshot 's2' of domain 'g' is", 'it', 's2');
  const both = refusal("snapshots 's3', 's2' of domain 'g' are", 'them', 's3 s2');
  for (const [name, flags, text] of [
    ['s2', 0, alone],
    ['s2', DELETE.METADATA_ONLY, alone],
    ['s2', DELETE.CHILDREN_ONLY, refusal("snapshot 's3' of domain 'g' is", 'it', 's3')],
    ['s1', DELETE.CHILDREN, both],
    ['s1', DELETE.CHILDREN | DELETE.METADATA_ONLY, both],
  ] as const) {
    await expect(deleteSnapshot(world.context, snapshots, name, flags)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      message: expect.stringContaining(text),
    });
  }
  expect(snapshots.tree.size).toBe(3);
  expect(new Set(world.steps)).toEqual(new Set(['end']));
});

test('others are deleted, and it is once it is not protected any more', async () => {
  await using world = await RecordedWorld.open();
  const snapshots = await scene(world);
  await setProtected(world.context, snapshots, 's2', true);
  await deleteSnapshot(world.context, snapshots, 's1', DELETE.METADATA_ONLY);
  await setProtected(world.context, snapshots, 's2', false);
  await deleteSnapshot(world.context, snapshots, 's2', DELETE.METADATA_ONLY);
  expect(snapshots.tree.all().map(({ name }) => name)).toEqual(['s3']);
});

test('a snapshot that is not there, or is deleted in part, cannot be protected', async () => {
  await using world = await RecordedWorld.open();
  const snapshots = await scene(world);
  await expect(setProtected(world.context, snapshots, 's4', true)).rejects.toMatchObject({
    code: 'NO_DOMAIN_SNAPSHOT',
  });
  const half = world.snapshot('s3', 'base', 'overlay', { parent: 's2' });
  await snapshots.put({ ...half, disks: half.disks.map((disk) => ({ ...disk, deleteInProgress: true })) }, false);
  await expect(setProtected(world.context, snapshots, 's3', true)).rejects.toThrow(
    "snapshot 's3' of domain 'g' is deleted in part; to complete that: virsh snapshot-delete g s3",
  );
  expect(world.protectedNames.of(GUEST)).toEqual(new Set());
});

test('who wants to protect a snapshot waits until the job on its domain has ended', async () => {
  await using world = await RecordedWorld.open();
  const snapshots = await scene(world);
  const deleted = deleteSnapshot(world.context, snapshots, 's3', DELETE.METADATA_ONLY);
  await expect(setProtected(world.context, snapshots, 's3', true)).rejects.toMatchObject({
    code: 'NO_DOMAIN_SNAPSHOT',
  });
  await deleted;
});

test('a command in a refusal can be pasted, whatever the names are', () => {
  const protectedNames = { of: () => new Set(['-x', 'a b']), set: async () => {} };
  const doomed = [{ name: '-x' }, { name: 'a b' }];
  expect(() => checkUnprotected({ protectedNames }, GUEST, doomed)).toThrow("xlsnap unprotect -- g -x 'a b'");
});
