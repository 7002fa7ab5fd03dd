/** Translates a disk of a libvirt definition to libxl's, as libvirt's libxl driver does (libxlMakeDisk in libxl_conf.c). */

import type { DomainDisk } from './domain.ts';
import type { LibxlDeviceDisk, LibxlDiskFormat } from './libxl.ts';

type Backend = NonNullable<LibxlDeviceDisk['backend']>;

/** `driver/@name`, then `driver/@type`, to libxl's backend. libvirt refuses to start a domain with others. */
const BACKENDS: Readonly<Record<string, Readonly<Partial<Record<LibxlDiskFormat, Backend>>>>> = {
  qemu: { qcow: 'qdisk', qcow2: 'qdisk', vhd: 'qdisk', raw: 'qdisk', qed: 'qdisk' },
  tap: { qcow: 'qdisk', qcow2: 'qdisk', vhd: 'tap', raw: 'tap' },
  tap2: { qcow: 'qdisk', qcow2: 'qdisk', vhd: 'tap', raw: 'tap' },
  file: { raw: 'qdisk' },
  phy: { raw: 'phy' },
};

/** libvirt's names of formats to libxl's. */
const FORMATS: Readonly<Record<string, LibxlDiskFormat>> = {
  raw: 'raw',
  qcow: 'qcow',
  qcow2: 'qcow2',
  qed: 'qed',
  vhd: 'vhd',
  vpc: 'vhd',
};

/** Returns libxl's name of a format, or undefined if it has none. An absent format is raw, as in xl-disk-configuration(5). */
export function libxlDiskFormat(format = 'raw'): LibxlDiskFormat | undefined {
  return own(FORMATS, format);
}

/**
 * Returns libxl's disk. Never fails: for a driver or format that libxl does not have, backend or format stay at libxl's
 * default (`unknown`). A disk without a driver is raw, and libxl picks its backend, so that is `unknown`, too. `removable`
 * is 1 for every disk, as in libvirt.
 */
export function libxlDeviceDisk(disk: DomainDisk): LibxlDeviceDisk {
  const driver = disk.driver ?? (disk.type === 'network' ? 'qemu' : undefined);
  const given = libxlDiskFormat(disk.format);
  const backend = driver === undefined || given === undefined ? undefined : own(BACKENDS, driver)?.[given];
  const isCdrom = disk.device === 'cdrom';
  const format = isCdrom && !disk.hasSource ? 'empty' : driver === undefined ? 'raw' : backend && given;
  return {
    ...(disk.backendDomain !== undefined && { backend_domname: disk.backendDomain }),
    ...(disk.path !== undefined && { pdev_path: disk.path }),
    vdev: disk.target,
    ...(backend && { backend }),
    ...(format && { format }),
    removable: 1,
    ...(!disk.readonly && { readwrite: 1 }),
    ...(isCdrom && { is_cdrom: 1 }),
    ...(disk.discard && !disk.readonly && { discard_enable: disk.discard === 'unmap' }),
  };
}

/** Looks up own keys only: names come from a user's XML, and every object has a `constructor`. */
function own<T>(table: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
