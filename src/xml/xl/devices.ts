/** The devices of a libxl_domain_config as libvirt's xen driver describes them. */

import { element, type XmlElement } from '../../model/element.ts';
import { type ConfigDisk, isOn, type Nic, type Pci, type Sdl, type Spice, type Vnc, type XlConfig } from './config.ts';

/** libvirt's names of libxl's formats. */
const FORMATS: Readonly<Record<string, string>> = { vhd: 'vpc' };

/** The bus that a target's prefix stands for; xl knows these. */
const BUSES: readonly (readonly [prefix: string, bus: string])[] = [
  ['xvd', 'xen'],
  ['hd', 'ide'],
  ['sd', 'scsi'],
  ['fd', 'fdc'],
];

/**
 * Returns a disk. One whose backend is left to libxl gets the backend that libxl will choose: phy for a block device with
 * a raw disk, else QEMU.
 */
export function diskElement(disk: ConfigDisk): XmlElement {
  const { pdev_path: path, vdev, format = 'raw', backend_domname } = disk;
  const driver = driverOf(disk);
  const isBlock = driver === 'phy';
  const bus = BUSES.find(([prefix]) => vdev.startsWith(prefix))?.[1];
  const discard = { True: 'unmap', False: 'ignore', '<default>': undefined }[disk.discard_enable ?? '<default>'];
  const attributes = {
    ...{ name: driver, type: FORMATS[format] ?? format },
    ...(discard !== undefined && { discard }),
  };
  return element('disk', { type: isBlock ? 'block' : 'file', device: disk.is_cdrom ? 'cdrom' : 'disk' }, [
    ...(backend_domname === undefined ? [] : [element('backenddomain', { name: backend_domname })]),
    ...(format === 'empty' ? [] : [element('driver', attributes)]),
    ...(path === undefined || path === '' ? [] : [element('source', { [isBlock ? 'dev' : 'file']: path })]),
    element('target', { dev: vdev, ...(bus !== undefined && { bus }) }),
    ...(disk.readwrite ? [] : [element('readonly')]),
  ]);
}

function driverOf({ backend, format = 'raw', pdev_path = '' }: ConfigDisk): string {
  if (backend === 'phy' || backend === 'tap') return backend;
  const isLeft = backend === undefined || backend === 'unknown';
  return isLeft && format === 'raw' && pdev_path.startsWith('/dev/') ? 'phy' : 'qemu';
}

/** Returns a network interface; one without a bridge is libvirt's `ethernet`. */
export function nicElement({ mac, bridge, script, model, ifname, ip, nictype, backend_domname }: Nic): XmlElement {
  const emulated = model ?? (nictype === 'vif' ? 'netfront' : undefined);
  const addresses = (ip ?? '').split(' ').filter((address) => address !== '');
  return element('interface', { type: bridge === undefined ? 'ethernet' : 'bridge' }, [
    ...(mac === undefined ? [] : [element('mac', { address: mac })]),
    ...(bridge === undefined ? [] : [element('source', { bridge })]),
    ...addresses.map((address) => element('ip', { address, family: address.includes(':') ? 'ipv6' : 'ipv4' })),
    ...(script === undefined ? [] : [element('script', { path: script })]),
    ...(ifname === undefined ? [] : [element('target', { dev: ifname })]),
    ...(emulated === undefined ? [] : [element('model', { type: emulated })]),
    ...(backend_domname === undefined ? [] : [element('backenddomain', { name: backend_domname })]),
  ]);
}

/** Returns what shows the guest's screen: that of HVM is the device model's, that of PV and PVH a vfb. */
export function graphicsElements({ c_info, b_info, vfbs = [] }: XlConfig): readonly XmlElement[] {
  if (c_info.type !== 'hvm') return vfbs.flatMap(({ vnc, sdl }) => [...vncGraphics(vnc), ...sdlGraphics(sdl)]);
  const { vnc, sdl, spice, vga } = b_info['type.hvm'] ?? {};
  const shown = [...vncGraphics(vnc), ...sdlGraphics(sdl), ...spiceGraphics(spice)];
  if (shown.length === 0) return [];
  const { video_memkb } = b_info;
  const vram = video_memkb === undefined || video_memkb < 0 ? {} : { vram: String(video_memkb) };
  const type = { qxl: 'qxl', none: 'none', cirrus: 'cirrus', std: 'vga' }[vga?.kind ?? 'std'] ?? 'vga';
  return [...shown, element('video', {}, [element('model', { type, ...(type === 'none' ? {} : vram) })])];
}

/** VNC's display 0 is port 5900; libxl counts displays, and leaves display 0 out of its JSON. */
const FIRST_VNC_PORT = 5900;

function vncGraphics(vnc: Vnc = {}): readonly XmlElement[] {
  const { display = 0, listen, passwd } = vnc;
  if (!isOn(vnc.enable)) return [];
  const isFixed = vnc.findunused === 'False';
  const port = isFixed ? { port: String(FIRST_VNC_PORT + display), autoport: 'no' } : { port: '-1', autoport: 'yes' };
  return [graphics('vnc', port, listen, passwd)];
}

function sdlGraphics(sdl: Sdl = {}): readonly XmlElement[] {
  const { display, xauthority } = sdl;
  if (!isOn(sdl.enable)) return [];
  return [
    element('graphics', {
      type: 'sdl',
      ...(display !== undefined && { display }),
      ...(xauthority !== undefined && { xauth: xauthority }),
    }),
  ];
}

function spiceGraphics(spice: Spice = {}): readonly XmlElement[] {
  const { port, tls_port, host, passwd } = spice;
  if (!isOn(spice.enable)) return [];
  const ports = {
    ...(port !== undefined && { port: String(port) }),
    ...(tls_port !== undefined && { tlsPort: String(tls_port) }),
    autoport: port === undefined && tls_port === undefined ? 'yes' : 'no',
  };
  const clipboard = spice.clipboard_sharing;
  return [
    graphics('spice', ports, host, passwd, [
      ...(isOn(spice.agent_mouse) ? [element('mouse', { mode: 'client' })] : []),
      ...(clipboard === undefined || clipboard === '<default>'
        ? []
        : [element('clipboard', { copypaste: isOn(clipboard) ? 'yes' : 'no' })]),
    ]),
  ];
}

function graphics(
  type: string,
  ports: Readonly<Record<string, string>>,
  listen: string | undefined,
  passwd: string | undefined,
  more: readonly XmlElement[] = [],
): XmlElement {
  const attributes = {
    ...{ type, ...ports },
    ...(listen !== undefined && { listen }),
    ...(passwd !== undefined && { passwd }),
  };
  const address = listen === undefined ? { type: 'address' } : { type: 'address', address: listen };
  return element('graphics', attributes, [element('listen', address), ...more]);
}

/**
 * Returns the PCI device of the host that the guest uses. It is not managed: xl does not take a device from its driver, nor
 * give it back.
 */
export function pciElement({ domain = 0, bus = 0, dev = 0, func = 0, permissive = false }: Pci): XmlElement {
  const hex = (value: number, digits: number) => `0x${value.toString(16).padStart(digits, '0')}`;
  return element('hostdev', { mode: 'subsystem', type: 'pci', managed: 'no' }, [
    element('driver', { name: 'xen' }),
    element('source', permissive ? { writeFiltering: 'no' } : {}, [
      element('address', { domain: hex(domain, 4), bus: hex(bus, 2), slot: hex(dev, 2), function: hex(func, 1) }),
    ]),
  ]);
}
