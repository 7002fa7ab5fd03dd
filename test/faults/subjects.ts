/** The operations that faults are put into. Before each: the domain runs, and has the snapshots `base` and `cold`. */

import type { DomainState } from '../../src/model/domain.ts';
import { CREATE, DELETE, REVERT } from '../../src/model/flags.ts';
import type { Contents } from './guest.ts';
import type { World } from './world.ts';

/** What an operation finds, or leaves. */
interface Situation {
  readonly state: DomainState;
  readonly contents: Contents;
  /** Snapshots besides `base` and `cold`. */
  readonly listed: readonly string[];
  /** Of these only the data is there: snapshots without metadata. */
  readonly hidden?: readonly string[];
}

export interface Subject {
  readonly name: string;
  readonly before: Situation;
  readonly after: Situation;
  /** Brings the world from its usual state into that of `before`. */
  prepare(world: World): Promise<void>;
  perform(world: World): Promise<void>;
}

/** What the domain holds before an operation, and what a booted one has in its RAM. */
const NOW = 3;
const BLANK = 0;

const RUNNING: Situation = { state: 'running', contents: { disk: NOW, ram: NOW }, listed: [] };
const OFF: Situation = { state: 'shutoff', contents: { disk: NOW }, listed: [] };
const BASE: Situation = { state: 'running', contents: { disk: 1, ram: 1 }, listed: [] };
const COLD: Situation = { state: 'shutoff', contents: { disk: 2 }, listed: [] };

/** What was written onto the overlays of `disks`, when `upper` was taken. */
const ABOVE: Situation = { state: 'running', contents: { disk: 5, ram: 5 }, listed: [] };

interface Captured {
  readonly state: DomainState;
  readonly contents: Contents;
  /** In overlays, and with its memory, if it has any, in a file of its own: nothing of it is in the image. */
  readonly external?: boolean;
}

/** Every snapshot that there ever is, by its name. */
export const SNAPSHOTS: Readonly<Record<string, Captured>> = {
  base: BASE,
  cold: COLD,
  new: RUNNING,
  'new-off': OFF,
  'new-paused': { ...RUNNING, state: 'paused' },
  victim: RUNNING,
  child: RUNNING,
  disks: { ...OFF, external: true },
  full: { ...RUNNING, external: true },
  upper: { ...ABOVE, external: true },
};

/** A world in the state that every subject begins with. */
export async function furnish(world: World): Promise<void> {
  await world.guest.mark(1);
  await world.create('base');
  await world.destroy();
  await world.guest.mark(2);
  await world.create('cold');
  await world.revert('base');
  await world.guest.mark(NOW);
}

/** The same state again, after whatever has happened. */
export async function tidy(world: World): Promise<void> {
  for (const name of await world.listed()) if (name !== 'base' && name !== 'cold') await world.deleteAsTold(name);
  await world.revert('base');
  await world.guest.mark(NOW);
}

const createDisks = (world: World): Promise<void> => world.create('disks', CREATE.DISK_ONLY);
const createFull = (world: World, name = 'full'): Promise<void> =>
  world.create(name, 0, `<memory snapshot='external' file='${world.externalMemory(name)}'/>`);

/** Of a domain that has gone on since its external snapshot. */
const LATER: Situation = { state: 'running', contents: { disk: 4, ram: 4 }, listed: [] };

const bothExternal = async (world: World): Promise<void> => {
  await createDisks(world);
  await world.guest.mark(5);
  await createFull(world, 'upper');
  await world.guest.mark(4);
};

const nothing = async (): Promise<void> => {};
const off = (world: World): Promise<void> => world.destroy();
const victims = async (world: World): Promise<void> => {
  await world.create('victim');
  await world.create('child');
};

export const SUBJECTS: readonly Subject[] = [
  {
    name: 'create, running',
    before: RUNNING,
    after: { ...RUNNING, listed: ['new'] },
    prepare: nothing,
    perform: (world) => world.create('new'),
  },
  {
    name: 'create, paused',
    before: { ...RUNNING, state: 'paused' },
    after: { ...RUNNING, state: 'paused', listed: ['new-paused'] },
    prepare: (world) => world.pause(),
    perform: (world) => world.create('new-paused'),
  },
  {
    name: 'create, off',
    before: OFF,
    after: { ...OFF, listed: ['new-off'] },
    prepare: off,
    perform: (world) => world.create('new-off'),
  },
  {
    name: 'create and halt',
    before: RUNNING,
    after: { ...OFF, listed: ['new'] },
    prepare: nothing,
    perform: (world) => world.create('new', CREATE.HALT),
  },
  {
    name: 'create without metadata',
    before: RUNNING,
    after: { ...RUNNING, hidden: ['new'] },
    prepare: nothing,
    perform: (world) => world.create('new', CREATE.NO_METADATA),
  },
  {
    name: 'revert, running to running',
    before: RUNNING,
    after: BASE,
    prepare: nothing,
    perform: (world) => world.revert('base'),
  },
  {
    name: 'revert, off to paused',
    before: OFF,
    after: { ...BASE, state: 'paused' },
    prepare: off,
    perform: (world) => world.revert('base', REVERT.PAUSED),
  },
  {
    name: 'revert, running to off',
    before: RUNNING,
    after: COLD,
    prepare: nothing,
    perform: (world) => world.revert('cold'),
  },
  {
    name: 'revert, running to booted',
    before: RUNNING,
    after: { ...COLD, state: 'running', contents: { disk: 2, ram: BLANK } },
    prepare: nothing,
    perform: (world) => world.revert('cold', REVERT.RUNNING),
  },
  {
    name: 'delete, running',
    before: { ...RUNNING, listed: ['child', 'victim'] },
    after: { ...RUNNING, listed: ['child'] },
    prepare: victims,
    perform: (world) => world.delete('victim'),
  },
  {
    name: 'delete, off',
    before: { ...OFF, listed: ['child', 'victim'] },
    after: { ...OFF, listed: ['victim'] },
    prepare: async (world) => {
      await victims(world);
      await world.destroy();
    },
    perform: (world) => world.delete('child'),
  },
  {
    name: 'delete with children',
    before: { ...RUNNING, listed: ['child', 'victim'] },
    after: RUNNING,
    prepare: victims,
    perform: (world) => world.delete('victim', DELETE.CHILDREN),
  },
  {
    name: 'delete of metadata',
    before: { ...RUNNING, listed: ['child', 'victim'] },
    after: { ...RUNNING, listed: ['victim'], hidden: ['child'] },
    prepare: victims,
    perform: (world) => world.delete('child', DELETE.METADATA_ONLY),
  },
  {
    name: 'create, disks only',
    before: RUNNING,
    after: { ...RUNNING, listed: ['disks'] },
    prepare: nothing,
    perform: createDisks,
  },
  {
    name: 'create, external',
    before: RUNNING,
    after: { ...RUNNING, listed: ['full'] },
    prepare: nothing,
    perform: (world) => createFull(world),
  },
  {
    name: 'create, external, off',
    before: OFF,
    after: { ...OFF, listed: ['disks'] },
    prepare: off,
    perform: createDisks,
  },
  {
    name: 'revert, running to external',
    before: { ...LATER, listed: ['full'] },
    after: { ...RUNNING, listed: ['full'] },
    prepare: async (world) => {
      await createFull(world);
      await world.guest.mark(4);
    },
    perform: (world) => world.revert('full'),
  },
  {
    name: 'revert, running to disks only',
    before: { ...LATER, listed: ['disks'] },
    after: { ...OFF, listed: ['disks'] },
    prepare: async (world) => {
      await createDisks(world);
      await world.guest.mark(4);
    },
    perform: (world) => world.revert('disks'),
  },
  {
    name: 'delete, external, running',
    before: { ...LATER, listed: ['full'] },
    after: LATER,
    prepare: async (world) => {
      await createFull(world);
      await world.guest.mark(4);
    },
    perform: (world) => world.delete('full'),
  },
  {
    name: 'delete, external, off',
    before: { ...LATER, state: 'shutoff', contents: { disk: 4 }, listed: ['disks'] },
    after: { ...LATER, state: 'shutoff', contents: { disk: 4 } },
    prepare: async (world) => {
      await createDisks(world);
      await world.guest.mark(4);
      await world.destroy();
    },
    perform: (world) => world.delete('disks'),
  },
  {
    name: 'delete, external, with children',
    before: { ...LATER, listed: ['disks', 'upper'] },
    after: LATER,
    prepare: bothExternal,
    perform: (world) => world.delete('disks', DELETE.CHILDREN),
  },
  {
    // The memory of `upper` is tied to an image that is merged into its base.
    name: 'delete, external, with a child on its overlays',
    before: { ...LATER, listed: ['disks', 'upper'] },
    after: { ...LATER, listed: ['upper'] },
    prepare: bothExternal,
    perform: (world) => world.delete('disks'),
  },
  {
    name: 'redefine',
    before: RUNNING,
    after: RUNNING,
    prepare: nothing,
    perform: async (world) => {
      const xml = await world.describe('base');
      await world.redefine(xml.replace('<state>', '<description>anew</description><state>'));
    },
  },
];
