/** Reverts of disks on several kinds of storage: whatever fails, and whenever it is cut off, they are at one moment. */

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { OfflineImages } from '../../../src/disks/offline-snapshots.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import { EXTENT_BYTES } from '../../support/disks/fake-volume-programs.ts';
import { fakeVolumes, phy } from '../../support/disks/fake-volumes.ts';
import { snapshotsIn } from '../../support/disks/images.ts';
import { twoImages } from '../../support/disks/two-images.ts';
import { hasPattern, qemuImg, writePattern } from '../../support/hosts/embedded.ts';

const images = new OfflineImages();
const NONE: ReadonlySet<string> = new Set();
const [THIN, THICK, OTHER, ZVOL, ZVOL2] = ['vg/thin', 'vg/thick', 'vg/other', 'tank/a', 'tank/b'] as const;
const VOLUMES = [THIN, THICK, OTHER, ZVOL, ZVOL2];
const [LATER, CAPTURED] = [0x22, 0x11];

const onThin = phy('xvdc', '/dev/vg/thin');
const onThick = phy('xvdd', '/dev/vg/thick');
const onOther = phy('xvde', '/dev/vg/other');
const onZvol = phy('xvdf', '/dev/zvol/tank/a');
const onZvol2 = phy('xvdg', '/dev/zvol/tank/b');

let volumes: Awaited<ReturnType<typeof fakeVolumes>>;
let two: Awaited<ReturnType<typeof twoImages>>;

beforeEach(async () => {
  two = await twoImages();
  volumes = await fakeVolumes({
    ...{ 'vg/pool0': { contents: '' }, [THIN]: { contents: 'captured', pool: 'pool0' } },
    ...{ [THICK]: { contents: 'captured', tags: ['backup'] }, [OTHER]: { contents: 'captured' } },
    ...{ [ZVOL]: { contents: 'captured' }, [ZVOL2]: { contents: 'captured' } },
  });
});

afterEach(async () => {
  await volumes[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

/** Snapshot s1 of the disks, which hold something else since. */
async function captured(disks: readonly LibxlDiskSnapshot[]): Promise<void> {
  for (const path of [two.a, two.b]) await writePattern(path, 'qcow2', CAPTURED);
  await images.create('s1', disks, NONE);
  for (const path of [two.a, two.b]) await writePattern(path, 'qcow2', LATER);
  for (const volume of VOLUMES) await volumes.change(volume, { contents: 'later' });
}

/** What each disk holds: `captured`, `later`, or anything else. */
async function contents(disks: readonly LibxlDiskSnapshot[]): Promise<readonly (string | undefined)[]> {
  return await Promise.all(
    disks.map(async ({ disk: { pdev_path: path = '' } }) => {
      if (!path.startsWith('/dev/')) return (await hasPattern(path, 'qcow2', CAPTURED)) ? 'captured' : 'later';
      return await volumes.contents(path.replace(/^\/dev\/(zvol\/)?/, ''));
    }),
  );
}

/** All volumes with their tags, without what they hold. */
async function names() {
  const found = Object.entries(await volumes.volumes()).map(([name, { tags = [] }]) => `${name} ${tags.join()}`);
  return { volumes: found.sort(), inImages: await snapshotsIn(two.a) };
}

/** The commands that a revert of the disks gives, as they are counted: `lvrename 2`. */
async function commandsOf(disks: readonly LibxlDiskSnapshot[]): Promise<readonly string[]> {
  await volumes.fail();
  await images.apply('s1', disks);
  const words = (await volumes.log()).map((line) => (line.startsWith('zfs') ? 'zfs rollback' : line.split(' ')[0]));
  return words.map((word, at) => `${word} ${words.slice(0, at + 1).filter((each) => each === word).length}`);
}

const all = (word: string, disks: readonly unknown[]) => disks.map(() => word);

test('all disks are reverted, and nothing is left of what was kept meanwhile', async () => {
  const disks = [...two.disks, onThin, onThick, onZvol, onZvol2];
  await captured(disks);
  const before = await names();
  await images.apply('s1', disks);
  expect(await contents(disks)).toEqual(all('captured', disks));
  expect(await names()).toEqual(before);
});

test('one disk is reverted without keeping what it held', async () => {
  await captured([onThick]);
  expect(await commandsOf([onThick])).toEqual([
    ...['lvchange 1', 'lvrename 1', 'lvconvert 1', 'lvcreate 1', 'lvrename 2', 'lvchange 2'],
  ]);
});

/*
 * The commands of a revert of a thin and a thick volume:
 * keep      lvcreate 1, lvcreate 2
 * thin      lvcreate 3, lvrename 1, lvrename 2, lvremove 1
 * thick     lvchange 1, lvrename 3, lvconvert 1, lvcreate 4, lvrename 4, lvchange 2
 * forget    lvremove 2, lvremove 3
 */
describe('all disks hold what they held before', () => {
  test.each(['lvrename 2', 'lvconvert 1', 'lvcreate 4', 'zfs rollback 1'])('after a failure of %s', async (command) => {
    const disks = [...two.disks.slice(0, 1), onThin, onThick, onZvol];
    await captured(disks);
    const whole = await names();
    await volumes.fail(command);
    await expect(images.apply('s1', disks)).rejects.toThrow(
      /made to fail.* \(all disks hold what they held before\)$/s,
    );
    expect(await contents(disks)).toEqual(all('later', disks));
    expect(await names()).toEqual(whole);
  });
});

test('what cannot be removed again when all disks are reverted only takes space', async () => {
  const disks = [onThin, onThick];
  await captured(disks);
  const whole = await names();
  await volumes.fail('lvremove 2');
  await images.apply('s1', disks);
  await volumes.fail();
  await images.apply('s1', disks);
  expect(await names()).toEqual(whole);
});

test('a volume that is in use after all is seen before any image is reverted', async () => {
  const disks = [...two.disks, onThin];
  await captured(disks);
  await volumes.change(THIN, { inactive: true });
  await expect(images.apply('s1', disks)).rejects.toThrow(/is not active.*\(all disks hold what they held before\)/s);
  expect(await contents(disks)).toEqual(all('later', disks));
});

test('a snapshot of a second ZFS volume that is gone is seen before any disk is reverted', async () => {
  const disks = [...two.disks.slice(0, 1), onThin, onZvol, onZvol2];
  await captured(disks);
  await volumes.change('tank/b@daily', { contents: '' });
  await expect(images.apply('s1', disks)).rejects.toThrow(/newer 'tank\/b@daily'.*\(all disks hold what they held/s);
  expect(await contents(disks)).toEqual(all('later', disks));
});

test('after the first of several ZFS volumes all others stay reverted; the error names them', async () => {
  const disks = [...two.disks.slice(0, 1), onThick, onZvol, onZvol2];
  await captured(disks);
  const before = await names();
  await volumes.fail('zfs rollback 2');
  await expect(images.apply('s1', disks)).rejects.toThrow("(reverted already: disk 'xvdd', 'xvda', 'xvdf')");
  expect(await contents(disks)).toEqual(['captured', 'captured', 'captured', 'later']);
  expect(await names()).toEqual(before);
});

test('what cannot be put back is kept, and the error names where', async () => {
  const disks = [onThin, onThick];
  await captured(disks);
  await volumes.fail('lvconvert 1', 'lvcreate 4');
  await expect(images.apply('s1', disks)).rejects.toThrow(
    /left over: .*lvcreate: made to fail \(what the disks held before is in volume 'vg\/thin\.xlsnap-pre', volume 'vg\/thick\.xlsnap-pre'\)$/s,
  );
});

describe('a revert that was cut off', () => {
  /** Runs a revert that dies with one of its commands: the next ones do nothing, as those of a dead daemon. */
  async function cutOffAt(disks: readonly LibxlDiskSnapshot[], command: string): Promise<void> {
    await volumes.fail(command);
    volumes.die();
    await images.apply('s1', disks).catch(() => undefined);
    await volumes.fail();
  }

  test.each([
    ['lvcreate 2', undefined],
    ['lvrename 2', 'undone'],
    ['lvcreate 4', 'undone'],
    ['lvremove 3', undefined],
  ])('at %s is %s: all disks are at one moment, images included', async (command, expected) => {
    const disks = [...two.disks.slice(0, 1), onThin, onThick];
    await captured(disks);
    const whole = await names();
    await cutOffAt(disks, command);
    expect(await images.settleApply('s1', disks)).toBe(expected);
    expect(await contents(disks)).toEqual(all(command === 'lvremove 3' ? 'captured' : 'later', disks));
    expect(await names()).toEqual(whole);
  });

  test('between two ZFS volumes is completed', async () => {
    const disks = [...two.disks.slice(0, 1), onZvol, onZvol2];
    await captured(disks);
    await qemuImg('snapshot', '-c', '.xlsnap-before-revert', two.a);
    await volumes.change(ZVOL, { contents: 'captured' });
    expect(await images.settleApply('s1', disks)).toBe('completed');
    expect(await contents(disks)).toEqual(all('captured', disks));
    expect(await snapshotsIn(two.a)).toEqual(['s1']);
  });
});

describe('room to keep what the disks hold is asked for before the guest ends', () => {
  const check = (disks: readonly LibxlDiskSnapshot[]) => images.checkApply('s1', disks);

  test('for thick volumes as much as their snapshots hold, in extents', async () => {
    const disks = [onThin, onThick, onOther];
    await captured(disks);
    await volumes.change('vg/thick.xlsnap.s1', { percent: '50.00' });
    // 32 MiB of 64, LVM's rounding and tables; and tables of the other one.
    await volumes.change('vg', { freeBytes: 10 * EXTENT_BYTES });
    await check(disks);
    await volumes.change('vg', { freeBytes: 10 * EXTENT_BYTES - 1 });
    await expect(check(disks)).rejects.toMatchObject({
      code: 'OPERATION_INVALID',
      detail: expect.stringMatching(
        /^no space to keep what volume 'vg\/other' of disk 'xvde' holds.*40 MiB are needed/,
      ),
    });
    await check([onThick]);
  });
});
