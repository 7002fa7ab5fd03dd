import { describe, expect, test } from '@jest/globals';
import { alignDisks } from '../../../src/model/align-disks.ts';
import type { DomainDisk } from '../../../src/model/domain.ts';
import type { DiskSnapshot } from '../../../src/model/snapshot.ts';

const disk = (target: string, path?: string, more: Partial<DomainDisk> = {}): DomainDisk => ({
  target,
  bus: 'xen',
  device: 'disk',
  type: 'file',
  hasSource: path !== undefined,
  ...(path !== undefined && { path }),
  readonly: false,
  shareable: false,
  snapshot: 'default',
  ...more,
});

const XVDA = disk('xvda', '/d/a.qcow2');
const XVDB = disk('xvdb', '/d/b.qcow2');
const CDROM = disk('hdc', undefined, { device: 'cdrom', readonly: true, snapshot: 'no' });

const align = (requested: readonly DiskSnapshot[], disks: readonly DomainDisk[], location: 'internal' | 'external') =>
  alignDisks(requested, disks, {
    name: 's1',
    location,
    regularFiles: new Set(disks.flatMap(({ path }) => path ?? [])),
  });

const external = (name: string, path: string): DiskSnapshot => ({
  name,
  location: 'external',
  target: { type: 'file', path },
});

describe('the full list', () => {
  test('holds every disk of the domain in its order, empty drives left out of the snapshot', () => {
    expect(align([], [XVDA, XVDB, CDROM], 'internal')).toEqual([
      { name: 'xvda', location: 'internal' },
      { name: 'xvdb', location: 'internal' },
      { name: 'hdc', location: 'no' },
    ]);
  });

  test('is accepted again as it was printed, with the empty drives that it leaves out', () => {
    const emptyFloppy = { ...CDROM, target: 'fda', device: 'floppy', snapshot: 'default' } as const;
    const printed = align([], [XVDA, emptyFloppy], 'internal');
    expect(printed[1]).toEqual({ name: 'fda', location: 'no' });
    expect(align(printed, [XVDA, emptyFloppy], 'internal')).toEqual(printed);
  });

  test('a disk named by its path gets its target name', () => {
    expect(align([{ name: '/d/b.qcow2', location: 'default' }], [XVDA, XVDB], 'internal')[1]).toEqual({
      name: 'xvdb',
      location: 'internal',
    });
  });

  test("a disk that was not asked for follows the domain's own snapshot mode, also into a mix", () => {
    const own = { ...XVDB, snapshot: 'external' } as const;
    expect(align([], [XVDA, own], 'internal')[1]).toMatchObject({ name: 'xvdb', location: 'external' });
  });

  test("a domain's own 'no' holds for a disk that was asked for without a mode", () => {
    const own = { ...XVDB, snapshot: 'no' } as const;
    expect(align([{ name: 'xvdb', location: 'default' }], [XVDA, own], 'internal')[1]?.location).toBe('no');
  });

  test('a domain without disks has an empty list', () => {
    expect(align([], [], 'internal')).toEqual([]);
  });
});

describe('generated names', () => {
  test.each([
    ['/d/a.qcow2', '/d/a.s1'],
    ['/d.x/c', '/d.x/c.s1'],
    ['/d/a.b.img', '/d/a.b.s1'],
  ])('%s gives %s', (path, expected) => {
    expect(align([], [disk('xvda', path)], 'external')).toEqual([external('xvda', expected)]);
  });

  test('collide only with earlier entries', () => {
    const twin = disk('xvdb', '/d/a.raw');
    expect(() => align([], [XVDA, twin], 'external')).toThrow(
      "unsupported configuration: cannot generate external snapshot name for disk 'xvdb': collision with disk 'xvda'",
    );
    expect(align([external('xvdb', '/d/a.s1')], [XVDA, XVDB], 'external')).toHaveLength(2);
  });

  test('keep a format that was given without a path', () => {
    const asked: DiskSnapshot = { name: 'xvda', location: 'external', target: { type: 'file', format: 'qed' } };
    expect(align([asked], [XVDA], 'external')[0]?.target).toEqual({ type: 'file', format: 'qed', path: '/d/a.s1' });
  });
});

describe('refusals', () => {
  const any = (name: string, more: Partial<DiskSnapshot> = {}): DiskSnapshot => ({
    name,
    location: 'default',
    ...more,
  });

  test.each<[string, readonly DiskSnapshot[], readonly DomainDisk[], 'internal' | 'external', string]>([
    [
      'more disks than the domain has',
      [any('x'), any('y')],
      [XVDA],
      'internal',
      'too many disk snapshot requests for domain',
    ],
    ['an unknown disk', [any('xvdz')], [XVDA], 'internal', "no disk named 'xvdz'"],
    [
      'a path of two disks',
      [any('/d/a.qcow2')],
      [XVDA, { ...XVDB, path: '/d/a.qcow2' }],
      'internal',
      "no disk named '/d/a.qcow2'",
    ],
    ['a disk twice', [any('xvda'), any('/d/a.qcow2')], [XVDA, XVDB], 'internal', "disk '/d/a.qcow2' specified twice"],
    [
      'an external disk in an internal snapshot',
      [external('xvda', '/x')],
      [XVDA],
      'internal',
      "disk 'xvda' must use snapshot mode 'internal'",
    ],
    [
      'a disk left out of an internal snapshot',
      [any('xvda', { location: 'no' })],
      [XVDA],
      'internal',
      "disk 'xvda' must use snapshot mode 'internal'",
    ],
    [
      'a file for a disk that is left out',
      [any('xvda', { location: 'no', target: { type: 'file', path: '/x' } })],
      [XVDA],
      'external',
      "file '/x' for disk 'xvda' requires use of external snapshot mode",
    ],
    [
      'a generated name on a block device',
      [any('xvda', { location: 'external', target: { type: 'block' } })],
      [XVDA],
      'external',
      "cannot generate external snapshot name for disk 'xvda' on a 'block' device",
    ],
    [
      'a generated name without source',
      [any('hdc', { location: 'external' })],
      [CDROM],
      'external',
      "cannot generate external snapshot name for disk 'hdc' without source",
    ],
  ])('%s', (_, requested, disks, location, expected) => {
    expect(() => align(requested, disks, location)).toThrow(`unsupported configuration: ${expected}`);
  });

  test('a generated name beside what is no regular file', () => {
    expect(() => alignDisks([], [XVDA], { name: 's1', location: 'external', regularFiles: new Set() })).toThrow(
      /source for disk 'xvda' is not a regular file; refusing to generate external snapshot name$/,
    );
    const volume = { ...XVDA, type: 'block' as const, path: '/dev/vg/g' };
    const forVolume = ({ target }: DomainDisk) => `; ask for another of ${target}`;
    const options = { name: 's1', location: 'external' as const, regularFiles: new Set<string>() };
    expect(() => alignDisks([], [volume], { ...options, forVolume })).toThrow('snapshot name; ask for another of xvda');
    expect(() => alignDisks([], [volume], options)).toThrow(/snapshot name$/);
  });
});
