/** The files that a definition needs when a domain is started from it. */

import type { DomainDefinition, DomainDisk, StartFile } from '../../model/domain.ts';
import { childAt, textAt, type XmlElement } from '../../model/element.ts';
import { deviceFiles } from './device-files.ts';
import { orderedDiskElements, targetOf } from './disks.ts';

/** `boot` from its disks or a kernel, `restore` from a memory image. */
export type StartKind = 'boot' | 'restore';

/** `startupPolicy` of a medium without which libvirt's qemu driver starts a domain. libvirt's xen driver has no such choice. */
const DROPPED: Readonly<Record<StartKind, readonly unknown[]>> = {
  boot: ['optional'],
  restore: ['optional', 'requisite'],
};

/**
 * Returns what must be there for a start from `definition`: the medium of every drive; what the guest boots by; what is behind
 * its other devices; and if the domain has a device model of its own (`hvm`), also for a restore: the emulator, and what the
 * emulator loads itself.
 */
export function startFiles(definition: DomainDefinition, kind: StartKind): readonly StartFile[] {
  const { element, disks } = definition;
  const read = (role: string, path: string | undefined): readonly StartFile[] =>
    path?.startsWith('/') ? [{ role, path, access: 'read' }] : [];
  const emulator = textAt(element, 'devices', 'emulator');
  const loader = textAt(element, 'os', 'loader');
  const isFlash = childAt(element, 'os', 'loader')?.attributes.type === 'pflash';
  const isEmulated = textAt(element, 'os', 'type') === 'hvm';
  const boots = kind === 'boot';
  const bootloader = textAt(element, 'bootloader');
  return [
    ...disks.filter((disk) => !isDropped(element, disk, kind)).flatMap((disk) => diskFile(definition, disk)),
    ...(boots || isEmulated ? read('kernel', textAt(element, 'os', 'kernel')) : []),
    ...(boots || isEmulated ? read('initial ramdisk', textAt(element, 'os', 'initrd')) : []),
    ...(boots || isFlash ? read('firmware', loader) : []),
    ...(boots ? nvramTemplate(element) : read('variables of the firmware', textAt(element, 'os', 'nvram'))),
    ...(boots ? program('bootloader', bootloader) : []),
    ...(isEmulated ? program('emulator', emulator) : []),
    ...deviceFiles(element),
  ];
}

function program(role: string, path: string | undefined): readonly StartFile[] {
  return path?.startsWith('/') ? [{ role, path, access: 'execute' }] : [];
}

function diskFile({ images }: DomainDefinition, { target, type, path, readonly }: DomainDisk): readonly StartFile[] {
  if (path === undefined) return [];
  if (type === 'dir') return [{ role: `disk '${target}'`, path, access: 'folder' }];
  const image = images.get(target);
  return [{ role: `disk '${target}'`, path, access: readonly ? 'read' : 'write', ...(image && { image }) }];
}

function isDropped(domain: XmlElement, { target, device }: DomainDisk, kind: StartKind): boolean {
  if (domain.attributes.type === 'xen' || (device !== 'cdrom' && device !== 'floppy')) return false;
  const found = orderedDiskElements(domain).find((disk) => targetOf(disk) === target);
  return DROPPED[kind].includes(found && childAt(found, 'source')?.attributes.startupPolicy);
}

/** The variables are copied from it at the first boot. */
function nvramTemplate(domain: XmlElement): readonly StartFile[] {
  const path = childAt(domain, 'os', 'nvram')?.attributes.template;
  const copy = textAt(domain, 'os', 'nvram');
  if (path === undefined) return [];
  return [{ role: 'variables of the firmware', path, access: 'read', ...(copy && { unless: copy }) }];
}
