/** Creates that are refused by the domain's state and the request alone: nothing has been asked of the host then. */

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Domain, DomainRef } from '../../../../src/model/domain.ts';
import { CREATE } from '../../../../src/model/flags.ts';
import { createSnapshot } from '../../../../src/snapshots/create/create.ts';
import { CREATE_NEEDS } from '../../../../src/snapshots/create/rules.ts';
import { DomainSnapshots } from '../../../../src/snapshots/domain-snapshots.ts';
import { OFF, RecordedWorld, RUNNING } from '../../../support/fakes/recorded-world.ts';
import { MemoryStore } from '../../../support/fakes/store-in-memory.ts';

let world: RecordedWorld;

beforeEach(async () => {
  world = await RecordedWorld.open({ chain: ['base'] });
});

afterEach(async () => {
  await world[Symbol.asyncDispose]();
});

interface Case {
  readonly domain?: Domain;
  readonly flags?: number;
  readonly inside?: string;
  readonly message: string;
}

const xvda = (inside: string) => `<disks><disk name='xvda' ${inside}</disk></disks>`;

const CASES: Readonly<Record<string, Case>> = {
  'a transient domain cannot be halted': {
    ...{ domain: { ...RUNNING, persistent: false }, flags: CREATE.HALT },
    message: 'cannot halt after transient domain snapshot',
  },
  'live without memory': {
    ...{ flags: CREATE.LIVE | CREATE.DISK_ONLY },
    message: 'live snapshot creation is supported only during full system snapshots',
  },
  'live of a domain that is off': {
    ...{ domain: OFF, flags: CREATE.LIVE },
    message: 'live snapshot creation is supported only during full system snapshots',
  },
  'a state that no snapshot can have': {
    domain: { ...RUNNING, state: 'nostate' },
    message: 'Invalid domain state nostate',
  },
  'a guest that sleeps': {
    domain: { ...RUNNING, state: 'pmsuspended' },
    message: "libxl doesn't support taking snapshots of PMSUSPENDED guests",
  },
  'a running guest, its disks inside their images, without its memory': {
    inside: "<memory snapshot='no'/>",
    message: 'internal snapshot of a running VM must include the memory state',
  },
  'disks alone, and none of them': {
    ...{ flags: CREATE.DISK_ONLY, inside: xvda("snapshot='no'>") },
    message: 'nothing selected for snapshot',
  },
  'an overlay on a block device that is not there': {
    ...{ flags: CREATE.DISK_ONLY, inside: xvda("type='block'><source dev='/dev/not-there'/>") },
    message: "block device snapshot target '/dev/not-there' doesn't exist",
  },
};

test.each(Object.entries(CASES))('%s', async (_, { domain = RUNNING, flags = 0, inside = '', message }) => {
  world.domain = domain;
  const snapshots = await world.snapshots();
  const document = `<domainsnapshot><name>s1</name>${inside}</domainsnapshot>`;
  await expect(createSnapshot(world.context, snapshots, document, flags)).rejects.toThrow(message);
  expect(world.steps.filter((step) => step !== 'end')).toEqual([]);
});

test('a name that is taken', async () => {
  const snapshots = await world.snapshots(world.snapshot('s1', 'base'));
  const document = '<domainsnapshot><name>s1</name></domainsnapshot>';
  await expect(createSnapshot(world.context, snapshots, document, 0)).rejects.toThrow(
    'domain moment s1 already exists',
  );
  expect(world.steps).not.toContain('save s1');
});

test.each([
  ['an overlay of the same snapshot', 'base.s2', "is to be the overlay of disk 'xvda'"],
  ['an image of the disk', 'base', "is an image of disk 'xvda'"],
  ["another snapshot's overlay", 'base.s1', "is part of snapshot 's1'"],
])('memory into %s', async (_, file, message) => {
  const snapshots = await world.snapshots(world.snapshot('s1', 'below', 'base.s1'));
  const document =
    `<domainsnapshot><name>s2</name><memory snapshot='external' file='${world.path(file)}'/>` +
    `${xvda(`snapshot='external'><source file='${world.path('base.s2')}'/>`)}</domainsnapshot>`;
  await expect(createSnapshot(world.context, snapshots, document, 0)).rejects.toThrow(message);
});

describe('files of other domains', () => {
  const memory = (file: string) =>
    `<domainsnapshot><name>s2</name><memory snapshot='external' file='${world.path(file)}'/></domainsnapshot>`;

  test('memory into an image that another domain uses, also with REUSE_EXT', async () => {
    world.others.set('other', 'theirs');
    await writeFile(world.path('theirs'), '');
    const snapshots = await world.snapshots();
    await expect(createSnapshot(world.context, snapshots, memory('theirs'), CREATE.REUSE_EXT)).rejects.toThrow(
      "theirs' is an image that domain 'other' (disk 'xvda') uses: choose another",
    );
  });

  test('memory into that of a snapshot of another domain', async () => {
    world.others.set('other', 'theirs');
    await writeFile(world.path('memory'), '');
    const store = new MemoryStore();
    const theirs = world.snapshot('t1', 'theirs', undefined, {
      memory: { location: 'external', file: world.path('memory') },
      disks: [],
    });
    const ref = { name: 'other', uuid: 'uuid of other', id: -1 };
    await store.write(ref, theirs, false);
    const { context } = world;
    const snapshotsOf = (of: DomainRef) =>
      of.name === 'other' ? DomainSnapshots.load(of, store, () => {}) : context.snapshotsOf(of);
    const snapshots = await world.snapshots();
    await expect(
      createSnapshot({ ...context, snapshotsOf }, snapshots, memory('memory'), CREATE.REUSE_EXT),
    ).rejects.toThrow("memory' is part of snapshot 't1' of domain 'other': choose another");
  });

  test('an overlay on what is there already and another domain uses, also without REUSE_EXT: it may be a block device', async () => {
    world.others.set('other', 'theirs');
    await writeFile(world.path('theirs'), '');
    const snapshots = await world.snapshots();
    const inside = xvda(`snapshot='external'><source file='${world.path('theirs')}'/>`);
    const document = `<domainsnapshot><name>s2</name>${inside}</domainsnapshot>`;
    await expect(createSnapshot(world.context, snapshots, document, CREATE.DISK_ONLY)).rejects.toThrow(
      "as overlay of domain 'g': domain 'other' (disk 'xvda') uses it",
    );
  });
});

test('docs/semantics.md lists what a create needs, in the order in which it is asked', () => {
  const text = readFileSync(new URL('../../../../docs/semantics.md', import.meta.url), 'utf8');
  const [, table = ''] = text.split('| needed for a create | what is asked |\n|---|---|\n');
  const rows = [...table.slice(0, table.indexOf('\n\n')).matchAll(/^\| ([^|]+) \|/gm)].map(([, kind]) => kind);
  expect(rows).toEqual(CREATE_NEEDS);
});
