/**
 * The properties of devices that a guest sees (the CheckABIStability functions of each kind). Each table is in
 * libvirt's order.
 */

import { childAt, childElements } from '../../model/element.ts';
import { busOf, isReadonly, orderedDiskElements } from '../domain/disks.ts';
import { ADDRESS } from './addresses.ts';
import { at, type Fact, type Group, isThere, kib, members, onlyIf, type Read } from './read.ts';

/** Options of a virtio device's `<driver>`; libvirt distinguishes a driver without options from none. */
const VIRTIO: readonly Fact[] = [
  ["Target device virtio options don't match the source", isThere('driver')],
  ...['iommu', 'ats', 'packed', 'page_per_vq'].map(
    (option): Fact => [
      `Target device ${option} option '%t' does not match source '%s'`,
      at(`driver/@${option}`, 'default'),
    ],
  ),
];

/** libvirt prints a controller's model as its number, -1 for none. */
const CONTROLLER_MODELS: Readonly<Record<string, readonly string[]>> = {
  usb: [
    ...['piix3-uhci', 'piix4-uhci', 'ehci', 'ich9-ehci1', 'ich9-uhci1', 'ich9-uhci2', 'ich9-uhci3'],
    ...['vt82c686b-uhci', 'pci-ohci', 'nec-xhci', 'qusb1', 'qusb2', 'qemu-xhci', 'none'],
  ],
  scsi: [
    ...['auto', 'buslogic', 'lsilogic', 'lsisas1068', 'vmpvscsi', 'ibmvscsi', 'virtio-scsi', 'lsisas1078'],
    ...['virtio-transitional', 'virtio-non-transitional', 'ncr53c90', 'dc390', 'am53c974'],
  ],
  ide: ['piix3', 'piix4', 'ich6'],
  'virtio-serial': ['virtio', 'virtio-transitional', 'virtio-non-transitional'],
};

const controllerModel: Read = ({ attributes: { type = '', model = '' } }) =>
  String(CONTROLLER_MODELS[type]?.indexOf(model) ?? model);

/** virTristateBool as a number. */
const TRISTATE: Readonly<Record<string, string>> = { yes: '1', no: '2' };
const tristate =
  (path: string): Read =>
  (element) =>
    TRISTATE[at(path, '')(element)] ?? '0';

/** virtio-serial and USB controllers have ports. */
const ports: Read = (controller) =>
  ['usb', 'virtio-serial'].includes(controller.attributes.type ?? '') ? at('@ports', '-1')(controller) : undefined;

/** A number in any base; -1 if it is missing, as in libvirt. */
const number =
  (path: string): Read =>
  (element) =>
    String(Number(at(path, '-1')(element)));

/** A name in lower case, as libvirt keeps it. */
const lower =
  (path: string, missing: string): Read =>
  (element) =>
    at(path, missing)(element).toLowerCase();

const channelName: Read = (channel) =>
  ['xen', 'virtio'].includes(at('target/@type', '')(channel)) ? at('target/@name', '<null>')(channel) : undefined;

const forwarded: Read = onlyIf(
  at('target/@type'),
  'guestfwd',
  (channel) => `${at('target/@address')(channel)}:${at('target/@port')(channel)}`,
);

/** libvirt prints whole MiB. */
const shmemBytes: Read = (shmem) => String(BigInt(kib('size')(shmem) ?? 0) * 1024n);

const shmemInterrupts: Read = (shmem) =>
  ['enabled', 'vectors', 'ioeventfd'].map((name) => at(`msi/@${name}`, '')(shmem)).join();

const pcrBanks: Read = (tpm) => {
  const banks = childAt(tpm, 'backend', 'active_pcr_banks');
  return (
    banks &&
    childElements(banks)
      .map(({ name }) => name)
      .toSorted()
      .join()
  );
};

const ofEmulator = (read: Read): Read => onlyIf(at('backend/@type'), 'emulator', read);

/** A group of devices of one kind. `implied`: libvirt adds such devices by itself. */
const devices = (name: string, count: string, facts: readonly Fact[], implied?: 'implied'): Group => ({
  members: name === 'disk' ? orderedDiskElements : members('devices', name),
  count: `Target domain ${count}`,
  facts: [...facts, ...ADDRESS],
  ...(implied && { implied: true }),
});

/** All kinds of devices, in libvirt's order. */
export const DEVICES: readonly Group[] = [
  devices('disk', 'disk count %t does not match source %s', [
    ['Target disk device %t does not match source %s', at('@device', 'disk')],
    ['Target disk bus %t does not match source %s', busOf],
    ['Target disk %t does not match source %s', at('target/@dev')],
    ['Target disk serial %t does not match source %s', at('serial', '<null>')],
    ["Target disk wwn '%t' does not match source '%s'", at('wwn', '<null>')],
    ['Target disk access mode does not match source', (disk) => String(isReadonly(disk))],
    ['Target disk model %t does not match source %s', at('@model', 'default')],
    ['Target disk rotation rate %t RPM does not match source %s RPM', at('target/@rotation_rate', '0')],
    ['Target disk queue count %t does not match source %s', at('driver/@queues', '0')],
    ['Target disk queue size %t does not match source %s', at('driver/@queue_size', '0')],
    ...VIRTIO,
  ]),
  devices(
    'controller',
    'controller count %t does not match source %s',
    [
      ['Target controller type %t does not match source %s', at('@type')],
      ['Target controller index %t does not match source %s', at('@index')],
      ['Target controller model %t does not match source %s', controllerModel],
      ['Target controller ports %t does not match source %s', ports],
      ['Target controller vectors %t does not match source %s', at('@vectors', '-1')],
      ...VIRTIO,
    ],
    'implied',
  ),
  devices('filesystem', 'filesystem count %t does not match source %s', [
    ['Target filesystem guest target %t does not match source %s', at('target/@dir')],
    ['Target filesystem access mode does not match source', isThere('readonly')],
    ['Target filesystem model does not match source', at('@model')],
    ...VIRTIO,
  ]),
  devices('interface', 'net card count %t does not match source %s', [
    ['Target network card mac %t does not match source %s', lower('mac/@address', '')],
    ['Target network card model %t does not match source %s', lower('model/@type', 'unknown')],
    ['Target network card MTU %t does not match source %s', at('mtu/@size', '0')],
    ...VIRTIO,
  ]),
  devices(
    'input',
    'input device count %t does not match source %s',
    [
      ['Target input device type %t does not match source %s', at('@type')],
      ['Target input device bus %t does not match source %s', at('@bus')],
      ['Target input model %t does not match source %s', at('@model', 'default')],
      ...VIRTIO,
    ],
    'implied',
  ),
  devices('sound', 'sound card count %t does not match source %s', [
    ['Target sound card model %t does not match source %s', at('@model')],
  ]),
  devices(
    'video',
    'video card count %t does not match source %s',
    [
      ['Target video card model %t does not match source %s', at('model/@type')],
      ...['ram', 'vram', 'vram64', 'vgamem'].map(
        (name): Fact => [`Target video card ${name} %t does not match source %s`, at(`model/@${name}`, '0')],
      ),
      ['Target video card heads %t does not match source %s', at('model/@heads', '1')],
      ['Target video card acceleration does not match source', isThere('model', 'acceleration')],
      ['Target video card 2d accel %t does not match source %s', tristate('model/acceleration/@accel2d')],
      ['Target video card 3d accel %t does not match source %s', tristate('model/acceleration/@accel3d')],
      ...VIRTIO,
    ],
    'implied',
  ),
  devices('hostdev', 'host device count %t does not match source %s', [
    ['Target host device mode %t does not match source %s', at('@mode')],
    ['Target host device subsystem %t does not match source %s', at('@type')],
  ]),
  devices('smartcard', 'smartcard count %t does not match source %s', []),
  devices(
    'serial',
    'serial port count %t does not match source %s',
    [
      ['Target serial type %t does not match source %s', at('target/@type', 'none')],
      ['Target serial model %t does not match source %s', at('target/model/@name', 'none')],
      ['Target serial port %t does not match source %s', at('target/@port', '0')],
    ],
    'implied',
  ),
  devices('parallel', 'parallel port count %t does not match source %s', [
    ['Target parallel port %t does not match source %s', at('target/@port', '0')],
  ]),
  devices('channel', 'channel count %t does not match source %s', [
    ['Target channel type %t does not match source %s', at('target/@type')],
    ['Target channel name %t does not match source %s', channelName],
    ['Target channel addr %t does not match source %s', forwarded],
  ]),
  devices(
    'console',
    'console count %t does not match source %s',
    [['Target console type %t does not match source %s', at('target/@type')]],
    'implied',
  ),
  devices('hub', 'hub device count %t does not match source %s', [
    ['Target hub device type %t does not match source %s', at('@type')],
  ]),
  devices('redirdev', 'redirected devices count %t does not match source %s', [
    ['Target redirected device bus %t does not match source %s', at('@bus')],
    [
      'Target redirected device source type %t does not match source device source type %s',
      onlyIf(at('@bus'), 'usb', at('@type')),
    ],
  ]),
  devices('redirfilter', 'USB redirection filter count %t does not match source %s', []),
  {
    members: members('devices', 'redirfilter', 'usbdev'),
    count: 'Target USB redirection filter rule count %t does not match source %s',
    facts: [
      ['Target USB Class code does not match source', number('@class')],
      ['Target USB vendor ID does not match source', number('@vendor')],
      ['Target USB product ID does not match source', number('@product')],
      ['Target USB version does not match source', number('@version')],
      ["Target USB allow '%t' does not match source '%s'", at('@allow')],
    ],
  },
  devices('watchdog', 'watchdog count %t does not match source %s', [
    ['Target watchdog model %t does not match source %s', at('@model')],
  ]),
  devices(
    'memballoon',
    'memory balloon count %t does not match source %s',
    [
      ['Target balloon model %t does not match source %s', at('@model')],
      ...['autodeflate', 'freePageReporting'].map(
        (name): Fact => [
          `Target balloon ${name} attribute value '%t' does not match source '%s'`,
          at(`@${name}`, 'default'),
        ],
      ),
      ...VIRTIO,
    ],
    'implied',
  ),
  devices('rng', 'RNG device count %t does not match source %s', [
    ["Target RNG model '%t' does not match source '%s'", at('@model')],
    ...VIRTIO,
  ]),
  devices('panic', 'panic device count %t does not match source %s', [
    ["Target panic model '%t' does not match source '%s'", at('@model', 'default')],
  ]),
  devices('shmem', 'shared memory device count %t does not match source %s', [
    ["Target shared memory role '%t' does not match source role '%s'", at('@role', 'default')],
    ["Target shared memory model '%t' does not match source model '%s'", at('model/@type')],
    ["Target shared memory size '%t' does not match source size '%s'", shmemBytes],
    ["Target shared memory server usage doesn't match source", isThere('server')],
    ["Target shared memory MSI configuration doesn't match source", shmemInterrupts],
  ]),
  devices('tpm', 'TPM device count %t does not match source %s', [
    ["Target TPM device type doesn't match source", at('backend/@type')],
    ["Target TPM device model doesn't match source", at('@model')],
    ["Target TPM version doesn't match source", ofEmulator(at('backend/@version'))],
    ["Target active PCR banks doesn't match source", ofEmulator(pcrBanks)],
  ]),
  devices('memory', 'memory device count %t does not match source %s', [
    ["Target memory device model '%t' doesn't match source model '%s'", at('@model')],
    ["Target memory device targetNode '%t' doesn't match source targetNode '%s'", at('target/node', '-1')],
    ["Target memory device size '%t' doesn't match source memory device size '%s'", kib('target/size')],
    ["Target NVDIMM label size '%t' doesn't match source NVDIMM label size '%s'", kib('target/label/size')],
    ["Target NVDIMM alignment '%t' doesn't match source NVDIMM alignment '%s'", kib('source/alignsize')],
    ["Target NVDIMM pmem flag doesn't match source NVDIMM pmem flag", isThere('source', 'pmem')],
    ["Target NVDIMM readonly flag doesn't match source NVDIMM readonly flag", isThere('target', 'readonly')],
    ["Target NVDIMM UUID doesn't match source NVDIMM", at('uuid')],
    ["Target memory device block size '%t' doesn't match source memory device block size '%s'", kib('target/block')],
    [
      "Target memory device requested size '%t' doesn't match source memory device requested size '%s'",
      kib('target/requested'),
    ],
  ]),
  devices('iommu', 'IOMMU device count does not match source', [
    ["Target domain IOMMU device model '%t' does not match source '%s'", at('@model')],
    ["Target domain IOMMU device intremap value '%t' does not match source '%s'", at('driver/@intremap', 'default')],
    ["Target domain IOMMU device caching mode '%t' does not match source '%s'", at('driver/@caching_mode', 'default')],
    ["Target domain IOMMU device eim value '%t' does not match source '%s'", at('driver/@eim', 'default')],
    ["Target domain IOMMU device iotlb value '%t' does not match source '%s'", at('driver/@iotlb', 'default')],
    ["Target domain IOMMU device aw_bits value '%t' does not match source '%s'", at('driver/@aw_bits', '0')],
  ]),
  devices('vsock', 'vsock device count does not match source', [
    ["Target domain vsock device model '%t' does not match source '%s'", at('@model', 'default')],
    ...VIRTIO,
  ]),
];
