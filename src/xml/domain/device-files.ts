/** The files behind a domain's devices, besides its disks, that are opened or made when it is started from a definition. */

import type { StartFile } from '../../model/domain.ts';
import { childAt, childElements, textAt, type XmlElement } from '../../model/element.ts';

type Access = StartFile['access'];

/** How the backend of a character device uses its path. Pseudo terminals and the network need no file. */
const BACKENDS: Readonly<Record<string, Access>> = { dev: 'device', file: 'create', pipe: 'pipe' };

/** Sockets in them libvirt makes itself, with their folders. */
const LIBVIRT_FOLDERS = /^(\/var\/lib|\/var\/run|\/run)\/libvirt\//;

/** In the order of the definition. Of a Xen guest only what libxl starts: a PV guest has no serial ports, for instance. */
export function deviceFiles(domain: XmlElement): readonly StartFile[] {
  const devices = childElements(childAt(domain, 'devices') ?? { ...domain, children: [] });
  const isXen = domain.attributes.type === 'xen';
  const hasSerial = !isXen || textAt(domain, 'os', 'type') === 'hvm';
  return devices.flatMap((device) => {
    switch (device.name) {
      case 'serial':
        return hasSerial ? characterFiles(device) : [];
      case 'channel':
        return characterFiles(device);
      case 'graphics':
        return isXen ? [] : graphicsFiles(device);
      default:
        return isXen ? [] : [...(device.name === 'parallel' ? characterFiles(device) : []), ...otherFiles(device)];
    }
  });
}

function characterFiles(device: XmlElement): readonly StartFile[] {
  const source = childAt(device, 'source')?.attributes ?? {};
  const target = childAt(device, 'target')?.attributes ?? {};
  const role = `${device.name} '${target.name ?? target.port ?? '0'}'`;
  const type = device.attributes.type ?? '';
  if (type === 'unix') return file(role, source.path, source.mode === 'connect' ? 'connect' : 'bind');
  const access = BACKENDS[type];
  return access === undefined ? [] : file(role, source.path, access);
}

/** A listening socket of VNC's or SPICE's. */
function graphicsFiles(device: XmlElement): readonly StartFile[] {
  const role = `graphics '${device.attributes.type ?? ''}'`;
  const listens = childElements(device, 'listen').filter(({ attributes }) => attributes.type === 'socket');
  return listens.flatMap(({ attributes }) => file(role, attributes.socket, 'bind'));
}

/** Devices that libvirt's xen driver does not have. */
function otherFiles(device: XmlElement): readonly StartFile[] {
  const { type } = device.attributes;
  const source = childAt(device, 'source')?.attributes ?? {};
  switch (device.name) {
    case 'filesystem':
      return file(`shared folder '${childAt(device, 'target')?.attributes.dir ?? ''}'`, source.dir, 'folder');
    case 'rng':
      return childAt(device, 'backend')?.attributes.model === 'random'
        ? file('random number generator', textAt(device, 'backend'), 'device')
        : [];
    case 'tpm':
      return file('TPM', childAt(device, 'backend', 'device')?.attributes.path, 'device');
    case 'input':
      return file(`input '${type ?? ''}'`, source.dev ?? source.evdev, 'device');
    case 'memory':
      return file(`memory '${device.attributes.model ?? ''}'`, textAt(device, 'source', 'path'), 'write');
    default:
      return [];
  }
}

function file(role: string, path: string | undefined, access: Access): readonly StartFile[] {
  if (!path?.startsWith('/') || LIBVIRT_FOLDERS.test(path)) return [];
  return [{ role, path, access, ...(access === 'pipe' && { unless: `${path}.in` }) }];
}
