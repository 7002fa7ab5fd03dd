/** Every kind of snapshot on every type of guest, on real Xen: taken, reverted to, deleted; then the guest reboots and ends. */

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { useLab } from '../support/lab/lab.ts';
import { type Cell, MatrixGuest } from '../support/lab/matrix-guest.ts';

const lab = useLab((host) => host.stopXlsnapd());

const INTERNAL = { memory: 'internal', disks: ['internal', 'internal'] } as const;
const EXTERNAL = { memory: 'external', disks: ['external', 'external'] } as const;
const MIXED = { memory: 'external', disks: ['internal', 'external'] } as const;
const DISK_ONLY = { memory: 'none', disks: ['external', 'external'] } as const;
const LIVE = { live: true } as const;
const PAUSED = { paused: true } as const;

const PVH: readonly Cell[] = [
  INTERNAL,
  { ...INTERNAL, ...LIVE },
  EXTERNAL,
  { ...EXTERNAL, ...LIVE },
  MIXED,
  { ...MIXED, ...LIVE },
  { memory: 'external', disks: ['internal', 'internal'] },
  { memory: 'external', disks: ['external', 'no'] },
  { memory: 'external', disks: ['no', 'no'] },
  DISK_ONLY,
  { memory: 'none', disks: ['internal', 'internal'] },
  { memory: 'none', disks: ['internal', 'external'] },
  { memory: 'none', disks: ['no', 'external'] },
  { ...DISK_ONLY, ...PAUSED },
  { ...INTERNAL, disks: ['internal', 'external'], refused: /disk 'xvdb' must use snapshot mode 'internal'/ },
  { ...INTERNAL, disks: ['internal', 'no'], refused: /disk 'xvdb' must use snapshot mode 'internal'/ },
  { ...INTERNAL, disks: ['external', 'external'], refused: /disk 'xvda' must use snapshot mode 'internal'/ },
  { memory: 'external', disks: ['internal', 'no'], refused: /require all disks to be selected/ },
  { memory: 'none', disks: ['no', 'no'], refused: /nothing selected for snapshot/ },
  { ...DISK_ONLY, ...LIVE, refused: /live snapshot creation is supported only during full system snapshots/ },
  { ...INTERNAL, ...PAUSED, refused: /^Requested operation is not valid: .*has to be running/ },
  { ...EXTERNAL, ...PAUSED, refused: /^Requested operation is not valid: .*has to be running/ },
];

const PV: readonly Cell[] = [
  INTERNAL,
  EXTERNAL,
  MIXED,
  DISK_ONLY,
  { ...INTERNAL, ...LIVE, refused: /^Operation not supported: .*shadow paging/ },
  { ...EXTERNAL, ...LIVE, refused: /^Operation not supported: .*shadow paging/ },
  { ...INTERNAL, ...PAUSED, refused: /^Requested operation is not valid: .*has to be running/ },
];

const HVM: readonly Cell[] = [
  INTERNAL,
  { ...INTERNAL, ...LIVE },
  EXTERNAL,
  { ...MIXED, ...LIVE },
  DISK_ONLY,
  { memory: 'none', disks: ['internal', 'external'] },
  { ...EXTERNAL, ...PAUSED, refused: /^Requested operation is not valid: .*has to be running/ },
];

const OFF: readonly Cell[] = [
  DISK_ONLY,
  { memory: 'none', disks: ['internal', 'internal'] },
  { memory: 'none', disks: ['internal', 'external'] },
  { memory: 'none', disks: ['external', 'no'] },
  { ...DISK_ONLY, ...LIVE, refused: /live snapshot creation is supported only during full system snapshots/ },
  { memory: 'none', disks: ['no', 'no'], refused: /nothing selected for snapshot/ },
];

const TRANSIENT: readonly Cell[] = [
  INTERNAL,
  { memory: 'external', disks: ['internal', 'internal'] },
  { memory: 'none', disks: ['internal', 'internal'] },
  { ...EXTERNAL, refused: /^Requested operation is not valid: .*transient domain/ },
  { ...MIXED, refused: /^Requested operation is not valid: .*transient domain/ },
  { ...DISK_ONLY, refused: /^Requested operation is not valid: .*transient domain/ },
];

const titled = (cells: readonly Cell[]) =>
  cells.map((cell, n) => {
    const { memory, disks, live, paused, refused } = cell;
    const how = [live && 'live', paused && 'paused', refused && 'refused'].filter(Boolean);
    return [[`memory ${memory}, disks ${disks.join('+')}`, ...how].join(', '), cell, `c${n}`] as const;
  });

beforeAll(async () => {
  await lab().startLibvirtd();
  await lab().startXlsnapd();
});

describe.each([
  ['pvh', PVH],
  ['pv', PV],
  ['hvm', HVM],
] as const)('a running %s guest', (type, cells) => {
  let matrix: MatrixGuest;

  beforeAll(() => {
    matrix = new MatrixGuest(lab(), type);
  });

  afterAll(() => matrix.remove());

  test.each(titled(cells))('%s', (_, cell, name) => matrix.runs(cell, name));

  test('reboots afterwards, and is seen to shut down', async () => {
    await matrix.ready();
    expect(await matrix.goesBack(() => lab().ok('reboot', matrix.name))).toBe(1);
    await lab().ok('shutdown', matrix.name);
    await lab().must(`until_true 120 shut_off ${matrix.name}`);
    expect(await lab().ok('domstate', matrix.name, '--reason')).toBe('shut off (shutdown)');
    await matrix.isAsBefore();
  });

  if (type !== 'pvh') return;
  test.each(titled(OFF))('that is off: %s', (_, cell, name) => matrix.isOff(cell, name));
});

describe('a transient guest', () => {
  let matrix: MatrixGuest;

  beforeAll(() => {
    matrix = new MatrixGuest(lab(), 'pvh', { transient: true });
  });

  afterAll(() => matrix.remove());

  test.each(titled(TRANSIENT))('%s', (_, cell, name) => matrix.runs(cell, name));
});

describe('an HVM guest that has not loaded its PV drivers yet', () => {
  test('has internal snapshots of its emulated drives, and no overlays', async () => {
    const matrix = new MatrixGuest(lab(), 'hvm');
    await matrix.remove();
    await lab().defineGuest(matrix.guest);
    // Written through, so that a snapshot's clusters are there to be written over.
    await lab().must(matrix.images.map((image) => `qemu-io -c 'write -P 7 0 16M' ${image}`).join(' && '));
    await lab().ok('start', matrix.name, '--paused');
    expect(await lab().refused(...matrix.create('s1', DISK_ONLY))).toMatch(/still used as emulated drive/);
    await lab().ok(...matrix.create('s1', { memory: 'none', disks: ['internal', 'internal'] }));
    const { inside, tips } = await matrix.look();
    expect(inside).toEqual([['s1'], ['s1']]);
    const taken = await matrix.hashes(tips);
    // Its PV disks take over from the emulated ones, and know of the snapshot that was made beside them.
    await matrix.goesBack(() => lab().ok('resume', matrix.name));
    await matrix.goesOn(3);
    expect((await matrix.look()).inside).toEqual([['s1'], ['s1']]);
    expect(await matrix.hashes(tips.map((tip) => `${tip} s1`))).toEqual(taken);
    await lab().ok('snapshot-delete', matrix.name, 's1');
    await matrix.goesOn();
    await matrix.isAsBefore();
    await matrix.remove();
  });
});

describe('many snapshots of one guest', () => {
  let matrix: MatrixGuest;

  beforeAll(() => {
    matrix = new MatrixGuest(lab(), 'pvh');
  });

  afterAll(() => matrix.remove());

  /** Takes a snapshot and gives the hash of each disk in it: what is an overlay's base now stays as it is. */
  const takes = async (name: string, cell: Cell) => {
    const { tips } = await matrix.look();
    await lab().ok(...matrix.create(name, cell));
    await matrix.goesOn(2);
    return await matrix.hashes(tips);
  };
  const goesTo = async (name: string, states: readonly string[]) => {
    await lab().ok('snapshot-revert', matrix.name, name, '--paused');
    const { tips } = await matrix.look();
    expect(await matrix.hashes(tips)).toEqual(states);
    return await matrix.goesBack(() => lab().ok('resume', matrix.name));
  };

  test('ten in a chain: each disk stands on eleven images, any of them comes back, and all are merged', async () => {
    await matrix.keeping(async () => {
      const states: (readonly string[])[] = [];
      for (let n = 0; n < 10; n++) states.push(await takes(`s${n}`, n === 4 ? EXTERNAL : DISK_ONLY));
      expect((await matrix.look()).chains.map((chain) => chain.length)).toEqual([11, 11]);
      expect(await goesTo('s4', states[4] ?? [])).toBeGreaterThan(1);
      expect(await goesTo('s7', states[7] ?? [])).toBe(1);
      for (let n = 9; n >= 0; n--) await lab().ok('snapshot-delete', matrix.name, `s${n}`);
      await matrix.goesOn();
      await matrix.isAsBefore();
    });
  });

  test('a tree of two branches is gone through from one to the other', async () => {
    await matrix.keeping(async () => {
      const root = await takes('root', EXTERNAL);
      const left = await takes('left', DISK_ONLY);
      await goesTo('root', root);
      const right = await takes('right', EXTERNAL);
      expect(await lab().ok('snapshot-list', matrix.name, '--tree')).toMatch(
        /^root\n {2}\|\n {2}\+- left\n {2}\+- right/,
      );
      expect(await goesTo('left', left)).toBe(1);
      expect(await goesTo('right', right)).toBeGreaterThan(1);
      for (const name of ['left', 'right', 'root']) await lab().ok('snapshot-delete', matrix.name, name);
      await matrix.goesOn();
      await matrix.isAsBefore();
    });
  });
});

describe('a guest that runs on overlays', () => {
  let matrix: MatrixGuest;

  beforeAll(() => {
    matrix = new MatrixGuest(lab(), 'pvh');
  });

  afterAll(() => matrix.remove());

  test('is on them for clients after a restart of either daemon, and boots from them', async () => {
    await matrix.keeping(async () => {
      await lab().ok(...matrix.create('s1', DISK_ONLY));
      await matrix.goesOn(2);
      const before = await matrix.look();
      await lab().stopXlsnapd();
      await lab().startXlsnapd();
      expect(await matrix.look()).toEqual(before);
      await lab().must('stop_libvirtd && start_libvirtd');
      expect(await matrix.look()).toEqual(before);
      expect(await matrix.goesBack(() => lab().ok('reboot', matrix.name))).toBe(1);
      await matrix.goesOn(2);
      expect(await matrix.look()).toEqual(before);
      for (const tip of before.tips) expect(await lab().diskCount(tip)).toBeLessThanOrEqual(matrix.tick);
      await lab().ok('snapshot-delete', matrix.name, 's1');
      await matrix.goesOn();
      await matrix.isAsBefore();
    });
  });

  test('comes back from its memory file by the plain virsh restore', async () => {
    await matrix.ready();
    const before = matrix.tick;
    await lab().ok(...matrix.create('s1', EXTERNAL), '--no-metadata');
    const after = matrix.tick;
    await matrix.goesOn(2);
    await lab().ok('destroy', matrix.name);
    const { files } = await matrix.look();
    const memory = files.find((file) => file.endsWith('.save')) ?? '';
    const first = await matrix.goesBack(() => lab().ok('restore', memory));
    expect(first).toBeGreaterThan(before);
    expect(first).toBeLessThanOrEqual(after + 1);
    await matrix.goesOn();
  });
});
