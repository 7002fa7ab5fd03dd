/** Alignment of a snapshot's disks with the domain's (virDomainSnapshotAlignDisks): the request becomes the full list. */

import { LibvirtError } from '../errors.ts';
import type { DomainDisk } from './domain.ts';
import type { DiskSnapshot } from './snapshot.ts';

interface AlignOptions {
  /** The snapshot's name: generated file names end in it. */
  readonly name: string;
  /** Where a disk goes that says nothing itself. */
  readonly location: 'internal' | 'external';
  /** Which of the domain's disk paths are regular files: only beside those a name is generated. */
  readonly regularFiles: ReadonlySet<string>;
}

/**
 * Every disk of the domain, in the domain's order, each with its location; external ones with a file name. Refuses, in
 * libvirt's order and words, what does not fit the domain.
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

/** By target name or, where the name is a path, by the one disk with that source. */
function findDisk(name: string, disks: readonly DomainDisk[]): DomainDisk | undefined {
  if (!name.startsWith('/')) return disks.find(({ target }) => target === name);
  const matches = disks.filter(({ path }) => path === name);
  return matches.length === 1 ? matches[0] : undefined;
}

/** libvirt's `require_match`: in an internal snapshot a requested disk may only be internal, or left out with the domain's consent. */
function locate(request: DiskSnapshot, disk: DomainDisk, { location }: AlignOptions): DiskSnapshot['location'] {
  const mustMatch = location === 'internal';
  let found = request.location;
  if (found === 'default') {
    const domains = disk.snapshot !== 'default' && (!mustMatch || disk.snapshot === 'no');
    found = domains ? disk.snapshot : location;
  } else if (mustMatch && found !== location && !(found === 'no' && disk.snapshot === 'no')) {
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

/** `/d/a.qcow2` and snapshot `s1` give `/d/a.s1`: the last extension of the file name is replaced. */
function generatedPath(snapshot: DiskSnapshot, disk: DomainDisk, { name, regularFiles }: AlignOptions): string {
  const type = snapshot.target?.type ?? 'file';
  const cannot = `cannot generate external snapshot name for disk '${disk.target}'`;
  if (type !== 'file') throw unsupported(`${cannot} on a '${type}' device`);
  if (disk.path === undefined) throw unsupported(`${cannot} without source`);
  if (!regularFiles.has(disk.path)) {
    throw unsupported(
      `source for disk '${disk.target}' is not a regular file; refusing to generate external snapshot name`,
    );
  }
  return `${disk.path.replace(/\.[^./]*$/, '')}.${name}`;
}

function unsupported(detail: string): LibvirtError {
  return new LibvirtError('CONFIG_UNSUPPORTED', detail, { domain: 'DOMAIN_SNAPSHOT' });
}
