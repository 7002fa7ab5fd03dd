/** Aligns a snapshot's disks with the domain's (virDomainSnapshotAlignDisks): turns the request into the full list. */

import { LibvirtError } from '../errors.ts';
import type { DomainDisk } from './domain.ts';
import type { DiskSnapshot } from './snapshot.ts';

interface AlignOptions {
  /** The snapshot's name, which becomes the extension of generated file names. */
  readonly name: string;
  /** The location of disks that state none. */
  readonly location: 'internal' | 'external';
  /** What is added to libvirt's refusal of a name beside a block device. Nothing by default. */
  readonly forVolume?: (disk: DomainDisk) => string;
  /** The domain's disk paths that are regular files: a name is generated only next to those. */
  readonly regularFiles: ReadonlySet<string>;
}

/**
 * Returns every disk of the domain, in the domain's order, with its location; external disks have a file name. Refuses a
 * request that does not fit the domain, in libvirt's order and words.
 */
export function alignDisks(
  requested: readonly DiskSnapshot[],
  disks: readonly DomainDisk[],
  options: AlignOptions,
): readonly DiskSnapshot[] {
  if (requested.length > disks.length) throw unsupported('too many disk snapshot requests for domain');
  if (disks.length === 0) return [];
  const asked = new Map<string, DiskSnapshot>();
  for (const request of requested) {
    const disk = findDisk(request.name, disks);
    if (!disk) throw unsupported(`no disk named '${request.name}'`);
    if (asked.has(disk.target)) throw unsupported(`disk '${request.name}' specified twice`);
    asked.set(disk.target, { ...request, location: locate(request, disk, options), name: disk.target });
  }
  const aligned = disks.map((disk) => asked.get(disk.target) ?? unrequested(disk, options.location));
  return withGeneratedNames(aligned, disks, options);
}

/** Finds a disk by its target or, if the name is a path, by its source, which must be unique. */
function findDisk(name: string, disks: readonly DomainDisk[]): DomainDisk | undefined {
  if (!name.startsWith('/')) return disks.find(({ target }) => target === name);
  const matches = disks.filter(({ path }) => path === name);
  return matches.length === 1 ? matches[0] : undefined;
}

/**
 * libvirt's `require_match`: in an internal snapshot a requested disk must be internal, or `no` if the domain says
 * `no`, too. An empty drive may be `no`: that is what every snapshot says of it, and its document must be accepted again.
 */
function locate(request: DiskSnapshot, disk: DomainDisk, { location }: AlignOptions): DiskSnapshot['location'] {
  const mustMatch = location === 'internal';
  let found = request.location;
  if (found === 'default') {
    const domains = disk.snapshot !== 'default' && (!mustMatch || disk.snapshot === 'no');
    found = domains ? disk.snapshot : location;
  } else if (mustMatch && found !== location && !(found === 'no' && (disk.snapshot === 'no' || !disk.hasSource))) {
    throw unsupported(`disk '${request.name}' must use snapshot mode '${location}'`);
  }
  const path = request.target?.path;
  if (path !== undefined && found !== 'external') {
    throw unsupported(`file '${path}' for disk '${request.name}' requires use of external snapshot mode`);
  }
  return found;
}

function unrequested(disk: DomainDisk, location: 'internal' | 'external'): DiskSnapshot {
  if (!disk.hasSource) return { name: disk.target, location: 'no' };
  return { name: disk.target, location: disk.snapshot === 'default' ? location : disk.snapshot };
}

function withGeneratedNames(
  aligned: readonly DiskSnapshot[],
  disks: readonly DomainDisk[],
  options: AlignOptions,
): readonly DiskSnapshot[] {
  const named: DiskSnapshot[] = [];
  aligned.forEach((snapshot, index) => {
    const disk = disks[index];
    if (!disk || snapshot.location !== 'external' || snapshot.target?.path !== undefined) {
      named.push(snapshot);
      return;
    }
    const path = generatedPath(snapshot, disk, options);
    const clash = named.find(({ target }) => target?.path === path);
    if (clash) {
      throw unsupported(
        `cannot generate external snapshot name for disk '${disk.target}': collision with disk '${clash.name}'`,
      );
    }
    named.push({ ...snapshot, target: { ...snapshot.target, type: 'file', path } });
  });
  return named;
}

/**
 * `/d/a.qcow2` and snapshot `s1` give `/d/a.s1`: the last extension of the file name is replaced. A host may not start a
 * guest from a path with white space or a comma, so these are written as in a URL: `before upgrade` gives
 * `/d/a.before%20upgrade`.
 */
function generatedPath(
  snapshot: DiskSnapshot,
  disk: DomainDisk,
  { name, regularFiles, forVolume = () => '' }: AlignOptions,
): string {
  const type = snapshot.target?.type ?? 'file';
  const cannot = `cannot generate external snapshot name for disk '${disk.target}'`;
  if (type !== 'file') throw unsupported(`${cannot} on a '${type}' device`);
  if (disk.path === undefined) throw unsupported(`${cannot} without source`);
  if (!regularFiles.has(disk.path)) {
    const refusal = `source for disk '${disk.target}' is not a regular file; refusing to generate external snapshot name`;
    throw unsupported(disk.type === 'block' ? refusal + forVolume(disk) : refusal);
  }
  return `${disk.path.replace(/\.[^./]*$/, '')}.${name.replace(NOT_IN_PATHS, encodeURIComponent)}`;
}

/** Also a `%` that would be read as the beginning of such a code: two names never become one. */
const NOT_IN_PATHS = /[\s,]|%(?=[0-9A-F]{2})/g;

function unsupported(detail: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', detail, { domain: 'DOMAIN_SNAPSHOT' });
}
