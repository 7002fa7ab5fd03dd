import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { BackingChain, DiskImage } from '../../../../src/model/disk-image.ts';
import type { DiskOnVolume, Domain, StorageVolume } from '../../../../src/model/domain.ts';
import type { DiskOfSnapshot } from '../../../../src/model/snapshot.ts';
import { checkNotShared, sharedImages } from '../../../../src/snapshots/chains/shared-images.ts';
import type { Looking } from '../../../../src/snapshots/context.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

const BASE = '/d/base.qcow2';
const TOUCHED = [{ path: BASE, disk: 'xvda' }];

const domainOf = (name: string, id = -1): Domain => ({
  ref: { name, uuid: `uuid of ${name}`, id },
  state: id < 0 ? 'shutoff' : 'running',
  persistent: true,
});

/** A definition with these images, as xvda, xvdb, … */
const withImages = (...paths: readonly string[]) =>
  parseDefinition(
    `<domain type='xen'><name>g</name><devices>${paths
      .map(
        (path, index) =>
          `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>` +
          `<target dev='xvd${'ab'[index]}'/></disk>`,
      )
      .join('')}</devices></domain>`,
  );

interface World {
  readonly domains: readonly Domain[];
  definition(domain: Domain, which: string): ReturnType<typeof withImages>;
  /** Of domain `other`. */
  readonly snapshot?: readonly DiskOfSnapshot[];
  /** The same of its disks on volumes. */
  readonly volumes?: readonly DiskOnVolume[];
  /** What an image is based on; or why its chain ends there. */
  readonly backing?: Readonly<Record<string, string | LibvirtError>>;
  /** What a block device stands on. */
  readonly below?: Readonly<Record<string, string>>;
}

function looking({ domains, definition, snapshot = [], volumes = [], backing = {}, below = {} }: World): Looking {
  const chainOf = (image: DiskImage): BackingChain => {
    const base = backing[image.path];
    const layer = { ...image, key: image.path };
    if (base instanceof LibvirtError) return { layers: [layer], dataFiles: [], broken: { image, error: base } };
    const device = below[image.path];
    if (base === undefined) return { layers: [layer], dataFiles: device === undefined ? [] : [device] };
    const rest = chainOf({ path: base, format: 'qcow2' });
    return { ...rest, layers: [layer, ...rest.layers] };
  };
  return {
    host: {
      list: async () => domains,
      definition: async (domain: Domain, which: string) => definition(domain, which),
      volumePath: async ({ pool, name }: StorageVolume) => `${pool === 'remote' ? '' : '/d/'}${name}`,
    },
    images: {
      chains: async (images: readonly DiskImage[]) => images.map(chainOf),
      fileKey: async (path: string) => path,
      keysBelow: async (path: string) => new Set(below[path] === undefined ? [] : [below[path]]),
    },
    snapshotsOf: async ({ name }: Domain['ref']) => ({
      tree: { all: () => (name === 'other' ? [{ name: 's1', images: snapshot, volumes }] : []) },
    }),
  } as unknown as Looking;
}

const usersOf = async (world: World, use?: 'as base' | 'only as base') =>
  [...(await sharedImages(looking(world), domainOf('own'), TOUCHED, use))].map(([path, { domain, disk, snapshot }]) => [
    ...[path, domain.ref.name, disk],
    ...(snapshot === undefined ? [] : [snapshot]),
  ]);

const gone = (error: LibvirtError): World => ({
  domains: ['own', 'gone', 'other'].map((name) => domainOf(name)),
  definition: ({ ref }) => {
    if (ref.name === 'gone') throw error;
    return withImages(BASE);
  },
});

test('a domain that goes while it is looked at uses nothing', async () => {
  const error = new LibvirtError('NO_DOMAIN', "no domain with matching uuid 'uuid of gone'");
  expect(await usersOf(gone(error))).toEqual([[BASE, 'other', 'xvda']]);
});

test('a domain that cannot be looked at for another reason may use any image', async () => {
  const lost = new LibvirtError('RPC', 'connection to libvirtd is closed');
  await expect(usersOf(gone(lost))).rejects.toBe(lost);
});

test.each([
  ['runs on it', BASE, '/d/new.qcow2'],
  ['will start on it', '/d/new.qcow2', BASE],
])('an image is shared if another domain %s', async (_what, live, persistent) => {
  const context = looking({
    domains: [domainOf('own'), domainOf('other', 7)],
    definition: ({ ref }, which) => withImages(ref.name === 'own' ? BASE : which === 'live' ? live : persistent),
  });
  await expect(checkNotShared(context, domainOf('own'), TOUCHED)).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringContaining("is also used by domain 'other' (disk 'xvda'), and merging"),
  });
  await checkNotShared(context, domainOf('own'), [{ path: '/d/third.qcow2', disk: 'xvda' }]);
});

test('an image is shared if only a snapshot of another domain needs it', async () => {
  const world: World = {
    domains: [domainOf('own'), domainOf('other')],
    definition: ({ ref }) => withImages(ref.name === 'own' ? BASE : '/d/elsewhere.qcow2'),
    snapshot: [{ disk: 'xvda', image: { path: '/d/clone.qcow2', format: 'qcow2' } }],
    backing: { '/d/clone.qcow2': BASE },
  };
  expect(await usersOf(world)).toEqual([[BASE, 'other', 'xvda', 's1']]);
});

test('case 5: an image is shared if another disk of the same domain is based on it, but not for its own disk', async () => {
  const world: World = {
    domains: [domainOf('own')],
    definition: () => withImages('/d/top.qcow2', '/d/look.qcow2'),
    backing: { '/d/top.qcow2': BASE, '/d/look.qcow2': BASE },
  };
  expect(await usersOf(world)).toEqual([[BASE, 'own', 'xvdb']]);
  expect(await usersOf({ ...world, definition: () => withImages('/d/top.qcow2') })).toEqual([]);
});

describe('block devices', () => {
  const disks = ['own', 'other'].map((name) => domainOf(name));
  const below = { '/dev/part1': '/dev/disk', '/dev/part2': '/dev/disk' };
  const usersIf = (own: string, other: string) =>
    sharedImages(
      looking({ domains: disks, definition: ({ ref }) => withImages(ref.name === 'own' ? own : other), below }),
      domainOf('own'),
      [{ path: own, disk: 'xvda' }],
      'only as base',
    );

  test.each([
    ['/dev/disk', '/dev/part1', true],
    ['/dev/part1', '/dev/disk', true],
    ['/dev/part1', '/dev/part2', false],
    ['/dev/part1', '/dev/part1', false],
  ])('%s has data of another domain on %s: %p', async (own, other, isShared) => {
    expect([...(await usersIf(own, other)).keys()]).toEqual(isShared ? [own] : []);
  });
});

test('a domain on the image itself is not based on it', async () => {
  const world: World = {
    domains: [domainOf('own'), domainOf('other')],
    definition: () => withImages(BASE),
  };
  expect(await usersOf(world, 'as base')).toEqual([]);
  const clone = { definition: ({ ref }: Domain) => withImages(ref.name === 'own' ? BASE : '/d/clone.qcow2') };
  expect(await usersOf({ ...world, ...clone, backing: { '/d/clone.qcow2': BASE } }, 'as base')).toHaveLength(1);
});

test('an image below another domain’s is shared by design if that domain’s disk was on the image itself, by a definition or a snapshot', async () => {
  const clone = '/d/clone.qcow2';
  const world: World = {
    domains: [domainOf('own'), domainOf('other')],
    definition: ({ ref }) => withImages(ref.name === 'own' ? BASE : clone),
    backing: { [clone]: BASE },
  };
  expect(await usersOf(world, 'only as base')).toEqual([[BASE, 'other', 'xvda']]);
  const snapshot = [{ disk: 'xvda', image: { path: BASE, format: 'qcow2' } }];
  expect(await usersOf({ ...world, snapshot }, 'only as base')).toEqual([]);
  expect(await usersOf({ ...world, snapshot }, 'as base')).toHaveLength(1);
  const elsewhere = [{ disk: 'xvdb', image: { path: BASE, format: 'qcow2' } }];
  expect(await usersOf({ ...world, snapshot: elsewhere }, 'only as base')).toHaveLength(1);
});

test('a chain of another domain that cannot be followed may hold any image; one whose end is missing or a folder holds nothing', async () => {
  const world = (error: LibvirtError): World => ({
    domains: [domainOf('own'), domainOf('other')],
    definition: ({ ref }) => withImages(ref.name === 'own' ? BASE : '/d/other.qcow2'),
    backing: { '/d/other.qcow2': error },
  });
  const pipe = new LibvirtError('OPERATION_FAILED', "cannot read image '/d/pipe': it is a pipe");
  await expect(usersOf(world(pipe))).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringMatching(
      /^domain 'other' \(disk 'xvda'\) may use .*cannot read image '\/d\/pipe': it is a pipe/,
    ),
  });
  const missing = new LibvirtError('OPERATION_FAILED', 'no such file', { reason: 'image-missing' });
  expect(await usersOf(world(missing))).toEqual([]);
  const folder = new LibvirtError('OPERATION_FAILED', 'a folder', { reason: 'image-is-folder' });
  expect(await usersOf(world(new LibvirtError('OPERATION_FAILED', 'no image', { cause: folder })))).toEqual([]);
});

test('a domain whose definition cannot be read may use any image, and is named; one that is gone uses none', async () => {
  const world = (error: LibvirtError): World => ({
    domains: [domainOf('own'), domainOf('other')],
    definition: ({ ref }) => {
      if (ref.name === 'other') throw error;
      return withImages(BASE);
    },
  });
  const unreadable = new LibvirtError('XML_ERROR', 'unknown disk');
  await expect(usersOf(world(unreadable))).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail:
      "domain 'other' may use the same images: its definition cannot be read (unknown disk). Mend that, or undefine it",
  });
  expect(await usersOf(world(new LibvirtError('NO_DOMAIN', 'gone')))).toEqual([]);
});

test('an image is shared by a volume of a pool, also of a snapshot; a volume on another host uses none', async () => {
  const onVolume = (pool: string) => ({ disk: 'xvdb', volume: { pool, name: 'base.qcow2' }, format: 'qcow2' });
  const world = (pool: string): World => ({
    domains: [domainOf('own'), domainOf('other')],
    definition: ({ ref }) => withImages(ref.name === 'own' ? BASE : '/d/other.qcow2'),
    volumes: [onVolume(pool)],
  });
  expect(await usersOf(world('p'))).toEqual([[BASE, 'other', 'xvdb', 's1']]);
  expect(await usersOf(world('remote'))).toEqual([]);
});
