import { describe, expect, test } from '@jest/globals';
import { asLibvirtError } from '../../../src/errors.ts';
import type { XmlElement } from '../../../src/model/element.ts';
import { checkAbiStability } from '../../../src/xml/abi-stability.ts';
import { readSnapshot } from '../../../src/xml/snapshot-read.ts';
import { DOMAIN, GUEST } from './abi-guest.ts';
import { virshRedefinitions } from './virsh.ts';

/** One change each, in the order in which libvirt would find them. */
const REFUSED: readonly (readonly [from: string | RegExp, to: string])[] = [
  ["type='xen'>", "type='kvm'>"],
  [/<genid.*/, ''],
  ['<genid>2222', '<genid>3333'],
  ['<name>d<', '<name>two<'],
  [/(<memory unit='KiB'>|memory=')(524288|262144)/g, '$1624289'],
  ["<size unit='KiB'>1024", "<size unit='KiB'>1025"],
  [/<memory model='dimm'.*/, ''],
  ['524280', '524279'],
  ['1524288', '1524289'],
  [/<maxMemory.*/, ''],
  ["slots='16'", "slots='17'"],
  [/<numa>[\s\S]*<.numa>/, ''],
  ["cpus='0-1' memory='262144'", "cpus='0-1' memory='262145'"],
  ["cpus='0-1'", "cpus='0'"],
  ["id='1' value='21'", "id='1' value='22'"],
  [/<distances>.*?id='1'.*?<.distances>([\s\S]*)<distances>.*?<.distances>/, '$1'],
  ["cpus='2-3' memory='262144'", "cpus='2-3' memory='262145'"],
  ['>4</vcpu>', '>5</vcpu>'],
  [/id='2' enabled='yes' hotpluggable='yes' order='3'/, "id='2' enabled='no' hotpluggable='yes'"],
  ["enabled='no' hotpluggable='yes'", "enabled='yes' hotpluggable='yes' order='4'"],
  [/current='3'([\s\S]*)<vcpus>[\s\S]*<.vcpus>/, "current='2'$1"],
  [/<vcpus>[\s\S]*<.vcpus>/, ''],
  ["order='2'", "order='9'"],
  ["arch='x86_64' machine='xenfv'>hvm", "arch='x86_64' machine='xenfv'>linux"],
  ['x86_64', 'i686'],
  ['xenfv', 'xenpv'],
  [" machine='xenfv'", ''],
  [/<smbios mode='host'.>/, ''],
  ['<acpi/>', ''],
  [/<apic.*?>/, ''],
  ["apic eoi='on'", "apic eoi='off'"],
  ["apic eoi='on'", 'apic'],
  ['<pae/>', ''],
  ["<hap state='on'/>", ''],
  ["hap state='on'", "hap state='off'"],
  ['<viridian/>', ''],
  ['<privnet/>', ''],
  [/<hyperv[\s\S]*<.hyperv>/, ''],
  ["<hyperv mode='custom'", "<hyperv mode='passthrough'"],
  [/<kvm>.*/, ''],
  ["pvspinlock state='on'", "pvspinlock state='off'"],
  [/<capabilities.*/, ''],
  ["policy='allow'", "policy='deny'"],
  ["<pmu state='on'/>", ''],
  ["vmport state='on'", "vmport state='off'"],
  ["gic version='2'", "gic version='3'"],
  ["<gic version='2'/>", ''],
  [/<smm.*<.smm>/, ''],
  ["driver='kvm'", "driver='qemu'"],
  [/<ioapic.*?>/, ''],
  ["resizing='enabled'", "resizing='required'"],
  ['>1048576<', '>2097152<'],
  [/<hpt.*<.hpt>/, ''],
  [/<vmcoreinfo.*?>/, ''],
  ["htm state='on'", "htm state='off'"],
  ["nested-hv state='on'", "nested-hv state='off'"],
  ["ccf-assist state='on'", "ccf-assist state='off'"],
  [/<xen>.*/, ''],
  ["cfpc value='fixed'", "cfpc value='broken'"],
  [/<sbbc.*?>/, ''],
  ['fixed-na', 'fixed-ccd'],
  ["relaxed state='on'", "relaxed state='off'"],
  ["<vapic state='on'/>", ''],
  ["retries='4096'", "retries='4097'"],
  [/<spinlocks.*?>/, "<spinlocks state='off'/>"],
  ["vpindex state='on'", "vpindex state='off'"],
  ["<synic state='on'/>", ''],
  ['KVM Hv', 'KVM H2'],
  [/<vendor_id.*?>/, ''],
  ["direct state='on'", "direct state='off'"],
  ["<direct state='on'/>", ''],
  ["e820_host state='on'", "e820_host state='off'"],
  ["passthrough state='on' mode='sync_pt'", "passthrough state='off'"],
  ['sync_pt', 'share_pt'],
  [" mode='sync_pt'", ''],
  ["hidden state='on'", "hidden state='off'"],
  [/<dirty-ring.*?>/, ''],
  [/<tseg.*?<.tseg>/, ''],
  ["unit='MiB'>8", "unit='MiB'>1024"],
  ["unit='MiB'>8", "unit='KiB'>1025"],
  ["<timer name='hpet' present='no'/>", ''],
  ["name='hpet'", "name='pit'"],
  ["frequency='1000'", "frequency='1001'"],
  ["'native'", "'emulate'"],
  [" frequency='1000' mode='native'", ''],
  ["present='no'", "present='yes'"],
  [" present='no'", ''],
  ["mode='custom' match='exact'", "mode='host-model'"],
  ["check='none'", "check='full'"],
  [" check='none'", ''],
  ['Haswell', 'Broadwell'],
  ['<vendor>Intel</vendor>', ''],
  [" vendor_id='AuthenticAMD'", ''],
  ["sockets='1' dies='1' cores='2'", "sockets='2' dies='1' cores='1'"],
  ["dies='1' cores='2'", "dies='2' cores='1'"],
  ["cores='2' threads='2'", "cores='1' threads='4'"],
  [/<topology.*/, ''],
  ["bits='42'", "bits='43'"],
  [/<maxphysaddr.*/, ''],
  ["<feature policy='disable' name='svm'/>", ''],
  ["name='svm'", "name='avx'"],
  ["policy='disable'", "policy='force'"],
  [/(<feature.*vmx.*)(\s*)(<feature.*)/, '$3$2$1'],
  [/<cache.*/, ''],
  ["level='3' mode='emulate'", "mode='disable'"],
  [/<sysinfo[\s\S]*<.sysinfo>/, ''],
  [/<bios>.*/, ''],
  ['>V<', '>W<'],
  ["<entry name='version'>1</entry>", ''],
  [/<system>.*/, ''],
  ["<entry name='manufacturer'>M", "<entry name='manufacturer'>N"],
  ['>P<', '>Q<'],
  ['>S</entry>', '>T</entry>'],
  [/<baseBoard>.*/, ''],
  ['>B<', '>BB<'],
  [/<chassis>.*/, ''],
  ['>C<', '>D<'],
  [/<disk type='file' device='cdrom'>.*/, ''],
  ["device='cdrom'", "device='disk'"],
  ["dev='xvda' bus='xen'", "dev='vda' bus='virtio'"],
  ["'xvda'", "'xvdb'"],
  ['<serial>S1', '<serial>S2'],
  ['<serial>S1</serial>', ''],
  ['71ad', '71ae'],
  ['</wwn>', '</wwn><readonly/>'],
  ['virtio-transitional', 'virtio-non-transitional'],
  [" model='virtio-transitional'", ''],
  ["rotation_rate='7200'", "rotation_rate='5400'"],
  [" rotation_rate='7200'", ''],
  ["queues='4'", "queues='5'"],
  ["<driver name='qemu' type='qcow2'/>", ''],
  ["iommu='on' ats", "iommu='off' ats"],
  ["ats='on' packed", "ats='off' packed"],
  [" packed='on'", ''],
  ["per_vq='on'", "per_vq='off'"],
  ["slot='0x05' function='0x0'", "slot='0x15' function='0x1'"],
  [/<address type='pci'.*?>/, ''],
  ["bus='1' target='0' unit='0'", "bus='1' target='0' unit='1'"],
  ["controller='0' bus='0' target='0' unit='0'", "controller='1' bus='0' target='0' unit='0'"],
  [/dev='sda'([\s\S]*?)<address.*?>/, "dev='sdk'$1"],
  ["type='usb' index='0' model='qusb2'", "type='usb' index='1' model='qusb2'"],
  ["ports='4'", "ports='5'"],
  ["ports='16'", "ports='17'"],
  [" ports='16'", ''],
  ["vectors='4'", "vectors='5'"],
  ["vectors='4'><driver iommu='on'/></controller>", "vectors='4'/>"],
  [/<filesystem.*/, ''],
  ["dir='/b'", "dir='/c'"],
  ["dir='/b'/><readonly/>", "dir='/b'/>"],
  ["accessmode='passthrough' model='virtio'", "accessmode='passthrough' model='virtio-transitional'"],
  [/<interface[\s\S]*<.interface>/, ''],
  ['00:00:01', '00:00:02'],
  ['netfront', 'e1000'],
  [/<model type='netfront'.>/, ''],
  ['1400', '1401'],
  [/<mtu.*/, ''],
  ["<driver ats='on'/>", ''],
  ["<mac address='00", "<address type='pci' domain='0' bus='0' slot='9' function='0'/><mac address='00"],
  ["acpi index='7'", "acpi index='8'"],
  [/<acpi index.*/, ''],
  ['tablet', 'keyboard'],
  ["tablet' bus='usb'", "tablet' bus='xen'"],
  [/<sound.*/, ''],
  ['ich6', 'ac97'],
  ["type='qxl'", "type='vga'"],
  ["ram='65536' vram='65536'", "ram='131072' vram='65536'"],
  [" vram='65536'", " vram='131072'"],
  ["vram64='65536'", "vram64='131072'"],
  ["vgamem='16384'", "vgamem='32768'"],
  ["heads='1'", "heads='2'"],
  [/<acceleration.*?>/, ''],
  ["accel2d='yes'", "accel2d='no'"],
  [" accel3d='yes'", ''],
  [/<hostdev[\s\S]*<.hostdev>/, ''],
  [
    /<hostdev[\s\S]*?<source>.*/,
    "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/></source>",
  ],
  ["slot='0x06'", "slot='0x07'"],
  ["ccid' controller='0' slot='1'", "ccid' controller='0' slot='2'"],
  ["<address type='ccid' controller='0' slot='1'/>", ''],
  ["<target type='isa-serial' port='0'><model name='isa-serial'/></target>", "<target port='0'/>"],
  ["<model name='isa-serial'/>", "<model name='isa-debugcon'/>"],
  ["isa-serial' port='0'", "isa-serial' port='1'"],
  ["iobase='0x3f8'", "iobase='0x2f8'"],
  ["irq='0x4'", "irq='0x5'"],
  ["<address type='isa' iobase='0x3f8' irq='0x4'/>", ''],
  [/<parallel.*/, ''],
  ["<parallel type='pty'><target port='0'", "<parallel type='pty'><target port='1'"],
  [/<channel.*xen.*/, ''],
  ["type='xen' name='org.y'", "type='virtio' name='org.y'"],
  ['org.x', 'org.z'],
  ['org.y', 'org.z'],
  ['10.0.2.1', '10.0.2.2'],
  ['4600', '4601'],
  ["bus='0' port='1'", "bus='0' port='2'"],
  [
    "<target type='serial' port='0'/></console>",
    "<target type='serial' port='0'/></console><console><target type='xen'/></console>",
  ],
  [/<hub.*/, ''],
  ["<hub type='usb'/>", "<hub type='usb'/><hub type='usb'/>"],
  [/<redirdev.*/, ''],
  ["type='spicevmc'/>", "type='tcp'><source mode='connect' host='h' service='1'/></redirdev>"],
  [/<redirfilter>.*/, ''],
  ["<usbdev allow='no'/>", ''],
  ["class='0x08'", "class='0x09'"],
  ['0x1234', '0x1235'],
  ['0xBEEF', '0xBEEE'],
  ['2.56', '2.57'],
  ["allow='yes'", "allow='no'"],
  [/<watchdog.*/, ''],
  ['i6300esb', 'ib700'],
  ["memballoon model='xen'", "memballoon model='none'"],
  ["autodeflate='on'", "autodeflate='off'"],
  [" freePageReporting='on'", ''],
  [/<rng.*/, ''],
  ["rng model='virtio'", "rng model='virtio-transitional'"],
  [/<panic.*/, ''],
  ["panic model='isa'", "panic model='hyperv'"],
  ['0x505', '0x506'],
  [/<shmem.*/, ''],
  [" role='master'", ''],
  ['ivshmem-plain', 'ivshmem-doorbell'],
  ["<size unit='M'>4", "<size unit='M'>5"],
  [/<server.*?><msi.*?>/, ''],
  ["vectors='32'", "vectors='33'"],
  [/<tpm.*/, ''],
  [/<backend type='emulator'.*<.backend>/, "<backend type='passthrough'><device path='/dev/tpm0'/></backend>"],
  ['tpm-tis', 'tpm-crb'],
  ["emulator' version='2.0'", "emulator' version='1.2'"],
  ['<sha1/>', ''],
  ["model='dimm'", "model='virtio-pmem'"],
  ['1024</size><node>0', '1024</size><node>1'],
  ["dimm' slot='0'", "dimm' slot='1'"],
  ['0x100000000', '0x200000000'],
  ['<pmem/>', ''],
  ['</label><readonly/>', '</label>'],
  ['33333333-2222', '33333334-2222'],
  ["<block unit='KiB'>2048", "<block unit='KiB'>4096"],
  ["<requested unit='KiB'>2048", "<requested unit='KiB'>4096"],
  [/<iommu.*/, ''],
  ["iommu model='intel'", "iommu model='smmuv3'"],
  ["intremap='on'", "intremap='off'"],
  [" caching_mode='on'", ''],
  ["eim='on'", "eim='off'"],
  ["iotlb='on'", "iotlb='off'"],
  [" aw_bits='48'", ''],
  [/<vsock.*/, ''],
  ["vsock model='virtio'", "vsock model='virtio-transitional'"],
  ["address='3'/><driver iommu='on'/>", "address='3'/>"],
  ...['piix3-uhci', 'ehci', 'ich9-ehci1', 'vt82c686b-uhci', 'nec-xhci', 'qusb1', 'qemu-xhci'].map(
    (model) => ["qusb2' ports='4'", `${model}'`] as const,
  ),
  ...['buslogic', 'lsilogic', 'vmpvscsi', 'virtio-scsi', 'lsisas1078', 'virtio-non-transitional', 'am53c974'].map(
    (model) => ["model='auto'", `model='${model}'`] as const,
  ),
];

/** What the guest does not see, or libvirt does not look at, or says in another way. */
const TAKEN: readonly (readonly [from: string | RegExp, to: string])[] = [
  ['/tmp/a.qcow2', '/tmp/b.qcow2'],
  ["type='qcow2'", "type='raw'"],
  ['br0', 'br1'],
  ["source dir='/a'", "source dir='/z'"],
  ["offset='utc'", "offset='localtime'"],
  ['<on_crash>destroy', '<on_crash>restart'],
  [
    "<input type='tablet' bus='usb'/>",
    "<input type='tablet' bus='usb'/><graphics type='vnc' port='-1' autoport='yes'/>",
  ],
  ["cpus='0-1' memory='262144' unit='KiB'", "cpus='0,1' memory='256' unit='MiB'"],
  [/<distances>.*?<.distances>/, ''],
  [" dies='1'", ''],
  ["match='exact'", "match='strict'"],
  ["fallback='allow'", "fallback='forbid'"],
  [" policy='require'", ''],
  ['O1', 'O3'],
  ["unknown='ignore'", "unknown='fault'"],
  ["mknod state='on'", "mknod state='off'"],
  ['<viridian/>', "<viridian state='on'/>"],
  ['00:16:3e', '00:16:3E'],
  [/<address type='drive' controller='0' bus='0'.*?>/, ''],
  [/<address type='drive' controller='0' bus='1'.*?>/, ''],
  ["controller='0' bus='0' target='0' unit='0'", "controller='0' bus='0' target='1' unit='0'"],
  ["maxGrantFrames='64'", "maxGrantFrames='65'"],
  ["smartcard mode='host'", "smartcard mode='passthrough' type='tcp'"],
  ["<channel type='unix'><target type='virtio'", "<channel type='pty'><target type='virtio'"],
  ["<source><address domain='0x0000' bus='0x01'", "<source><address domain='0x0000' bus='0x02'"],
  [" heads='1'", ''],
  ["address='3'", "address='4'"],
  [/<console.*/, ''],
];

/** Where libvirt's sentence says something else than what differs: ours says that. */
const MISPRINTS: readonly (readonly [from: string, to: string, libvirts: string, ours: string])[] = [
  [
    "queue_size='256'",
    "queue_size='512'",
    'Target disk queue size 4 does not match source 4',
    'queue size 512 does not match source 256',
  ],
  [
    "bus='virtio' model='virtio'",
    "bus='virtio'",
    'Target input model ps2 does not match source usb',
    'input model default does not match source virtio',
  ],
  [
    "<label><size unit='KiB'>128",
    "<label><size unit='KiB'>256",
    "label size '128' doesn't match source NVDIMM label size '256'",
    "label size '256' doesn't match source NVDIMM label size '128'",
  ],
  [
    "<alignsize unit='KiB'>2048",
    "<alignsize unit='KiB'>4096",
    "alignment '2048' doesn't match source NVDIMM alignment '4096'",
    "alignment '4096' doesn't match source NVDIMM alignment '2048'",
  ],
  ["size='4096'/></kvm", "size='8192'/></kvm", "KVM feature '(null)' differs", "KVM feature 'dirty-ring' differs"],
];

const changed = (text: string, [from, to]: readonly [string | RegExp, string]): string => {
  const result = text.replace(from, to);
  if (result === text) throw new Error(`nothing to change: ${from}`);
  return result;
};

function definitionOf(document: string): XmlElement {
  const { domain } = readSnapshot(document, { internal: false }).snapshot;
  if (!domain) throw new Error('no domain');
  return domain;
}

type Pair = readonly [before: string, after: string];

function ours([before, after]: Pair): string | undefined {
  const [source, target] = [definitionOf(before), definitionOf(after)];
  try {
    checkAbiStability(source, target);
    return undefined;
  } catch (error) {
    return asLibvirtError(error).message;
  }
}

const changes = (table: readonly (readonly [from: string | RegExp, to: string, ...unknown[]])[]): readonly Pair[] =>
  table.map(([from, to]) => [GUEST, changed(GUEST, [from, to])]);

const libvirts = (pairs: readonly Pair[]) => virshRedefinitions(DOMAIN, pairs);

describe('a definition that a saved guest would notice is refused as libvirt refuses it', () => {
  const pairs = changes(REFUSED);
  const answers = libvirts(pairs);

  test.each(REFUSED.map(([from, to], index) => ({ change: `${from} → ${to}`, index })))('$change', ({ index }) => {
    expect(answers[index]).toBeDefined();
    expect(pairs.slice(index, index + 1).map(ours)).toEqual([answers[index]]);
  });
});

test('the other way round, too', () => {
  const pairs = changes(REFUSED).map(([before, after]): Pair => [after, before]);
  expect(pairs.map(ours)).toEqual(libvirts(pairs));
});

test('where libvirt names the wrong thing, ours names the right one', () => {
  const pairs = changes(MISPRINTS);
  expect([libvirts(pairs), pairs.map(ours)]).toEqual([
    MISPRINTS.map(([, , theirs]) => expect.stringContaining(theirs)),
    MISPRINTS.map(([, , , right]) => expect.stringContaining(right)),
  ]);
});

test('of two faults the one is named that libvirt finds first', () => {
  const pairs = REFUSED.slice(1).flatMap((change, index): readonly Pair[] => {
    const before = REFUSED[index];
    if (!before) return [];
    const one = GUEST.replace(...before);
    const both = one.replace(...change);
    return both === one ? [] : [[GUEST, both]];
  });
  expect(pairs.map(ours)).toEqual(libvirts(pairs));
});

test('what only the host sees may change', () => {
  const pairs = changes(TAKEN);
  const nothing = TAKEN.map(() => undefined);
  expect([libvirts(pairs), pairs.map(ours)]).toEqual([nothing, nothing]);
});

test('devices that libvirt adds by itself may be left out of a definition', () => {
  const without = GUEST.replace(/<(controller|memballoon|console).*/g, '');
  expect(ours([GUEST, without])).toBeUndefined();
});
