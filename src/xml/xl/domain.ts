/**
 * libvirt's `<domain>` of a libxl_domain_config, as libvirt's xen driver would describe the same guest (its
 * `domxml-from-native xen-xl`), for hosts without libvirt. The XML is for people and clients; the config is what libxl
 * gets, so it is kept inside.
 */

import { HOST_ARCH } from '../../model/domain.ts';
import { element, type XmlElement } from '../../model/element.ts';
import { orderedDiskElements } from '../domain/disks.ts';
import { parseDomain } from '../domain/domain.ts';
import { writeElement } from '../engine/write.ts';
import { asConfig, type BuildInfo, type Hvm, isOn, type XlConfig } from './config.ts';
import { diskElement, graphicsElements, nicElement, pciElement } from './devices.ts';
import { configIn, keptConfig } from './kept-config.ts';

/** Returns the definition of the guest. `id`: its domid, if it runs. Has its passwords in `<graphics>` alone. */
export function domainOfConfig(config: XlConfig, id?: number): XmlElement {
  const { c_info, b_info } = config;
  const { name = '', uuid } = c_info;
  const maximum = b_info.max_memkb ?? b_info.target_memkb ?? 0;
  return element('domain', { type: 'xen', ...(id !== undefined && { id: String(id) }) }, [
    text('name', name),
    ...(uuid === undefined ? [] : [text('uuid', uuid)]),
    element('metadata', {}, [keptConfig(config)]),
    text('memory', String(maximum), { unit: 'KiB' }),
    text('currentMemory', String(b_info.target_memkb ?? maximum), { unit: 'KiB' }),
    vcpu(b_info),
    ...sharesOf(b_info),
    ...bootloader(b_info),
    element('os', {}, osParts(config)),
    ...features(config),
    clock(config),
    text('on_poweroff', actionOf(config.on_poweroff)),
    text('on_reboot', actionOf(config.on_reboot)),
    text('on_crash', actionOf(config.on_crash)),
    element('devices', {}, devices(config)),
  ]);
}

/**
 * Returns the definition as a document. Takes the config as JSON has it, for instance one of the array that
 * `xl list --long` prints; refuses (INVALID_ARG) anything else.
 */
export function domainXmlOfConfig(config: Readonly<Record<string, unknown>>, id?: number): string {
  return writeElement(domainOfConfig(asConfig(config, 'the config'), id));
}

/**
 * Returns the config that a document was made of, with the disks and passwords that the document has now. Refuses
 * (XML_ERROR) a document that keeps none.
 */
export function configOfDomainXml(xml: string): Readonly<Record<string, unknown>> {
  return { ...configIn(parseDomain(xml)) };
}

const text = (name: string, value: string, attributes: Readonly<Record<string, string>> = {}): XmlElement =>
  element(name, attributes, [value]);

/** libvirt's words have hyphens, libxl's underscores; libxl leaves out its default. */
const actionOf = (action = 'destroy'): string => action.replaceAll('_', '-');

function vcpu({ max_vcpus = 1, avail_vcpus }: BuildInfo): XmlElement {
  const available = avail_vcpus?.length ?? max_vcpus;
  const current = available > 0 && available < max_vcpus ? { current: String(available) } : {};
  return text('vcpu', String(max_vcpus), { placement: 'static', ...current });
}

function sharesOf({ sched_params }: BuildInfo): readonly XmlElement[] {
  const weight = sched_params?.weight;
  return weight === undefined || weight < 0 ? [] : [element('cputune', {}, [text('shares', String(weight))])];
}

/** What a PV guest boots was once in the part for PV alone. */
const bootOf = (b_info: BuildInfo) => ({ ...b_info['type.pv'], ...b_info });

function bootloader(b_info: BuildInfo): readonly XmlElement[] {
  const { bootloader: path, bootloader_args: args } = bootOf(b_info);
  return [
    ...(path === undefined ? [] : [text('bootloader', path)]),
    ...(args === undefined || args.length === 0 ? [] : [text('bootloader_args', args.join(' '))]),
  ];
}

/** By type of guest: what libvirt's xen driver has as `<type>` and `machine`. */
const GUESTS = {
  hvm: { osType: 'hvm', machine: 'xenfv' },
  pv: { osType: 'linux', machine: 'xenpv' },
  pvh: { osType: 'xenpvh', machine: 'xenpvh' },
} as const;

/** xl's letters of `boot=` (xl.cfg(5)). */
const BOOT_DEVICES: Readonly<Record<string, string>> = { a: 'fd', c: 'hd', d: 'cdrom', n: 'network' };

function osParts({ c_info, b_info }: XlConfig): readonly XmlElement[] {
  const { osType, machine } = GUESTS[c_info.type ?? 'pv'];
  const { kernel, ramdisk, cmdline } = bootOf(b_info);
  const hvm = b_info['type.hvm'];
  return [
    text('type', osType, { arch: HOST_ARCH, machine }),
    ...(kernel === undefined ? [] : [text('kernel', kernel)]),
    ...(ramdisk === undefined ? [] : [text('initrd', ramdisk)]),
    ...(cmdline === undefined ? [] : [text('cmdline', cmdline)]),
    ...(c_info.type === 'hvm' ? bootDevices(hvm) : []),
    ...(hvm?.acpi_firmware === undefined
      ? []
      : [element('acpi', {}, [text('table', hvm.acpi_firmware, { type: 'slic' })])]),
  ];
}

function bootDevices(hvm: Hvm | undefined): readonly XmlElement[] {
  const known = [...(hvm?.boot ?? 'c')].flatMap((letter) => BOOT_DEVICES[letter] ?? []);
  return known.map((dev) => element('boot', { dev }));
}

function features({ c_info, b_info }: XlConfig): readonly XmlElement[] {
  const hvm = b_info['type.hvm'];
  const found = [
    ...(isOn(b_info.acpi ?? hvm?.acpi) ? [element('acpi')] : []),
    ...(isOn(b_info.apic ?? hvm?.apic) ? [element('apic')] : []),
    ...(isOn(hvm?.pae) ? [element('pae')] : []),
    ...(c_info.hap === 'True' ? [element('hap')] : []),
    ...(c_info.hap === 'False' ? [element('hap', { state: 'off' })] : []),
    ...(isOn(hvm?.viridian) ? [element('viridian')] : []),
  ];
  return found.length === 0 ? [] : [element('features', {}, found)];
}

/** libvirt's names of libxl_tsc_mode. */
const TSC_MODES: Readonly<Record<string, string>> = {
  always_emulate: 'emulate',
  native: 'native',
  native_paravirt: 'paravirt',
};

function clock({ c_info, b_info }: XlConfig): XmlElement {
  const { localtime, rtc_timeoffset, tsc_mode } = b_info;
  const mode = TSC_MODES[tsc_mode ?? ''];
  const hpet = b_info['type.hvm']?.hpet;
  const offset = isOn(localtime) ? 'localtime' : 'utc';
  const timers = [
    ...(mode === undefined ? [] : [element('timer', { name: 'tsc', present: 'yes', mode })]),
    ...(hpet === 'True' || hpet === 'False'
      ? [element('timer', { name: 'hpet', present: isOn(hpet) ? 'yes' : 'no' })]
      : []),
  ];
  return c_info.type === 'hvm' && rtc_timeoffset !== undefined && rtc_timeoffset !== 0
    ? element('clock', { offset: 'variable', adjustment: String(rtc_timeoffset), basis: offset }, timers)
    : element('clock', { offset }, timers);
}

function devices(config: XlConfig): readonly XmlElement[] {
  const { b_info, disks = [], nics = [], pcidevs = [] } = config;
  const all = element('domain', {}, [element('devices', {}, disks.map(diskElement))]);
  return [
    ...(b_info.device_model === undefined ? [] : [text('emulator', b_info.device_model)]),
    ...orderedDiskElements(all),
    ...nics.map(nicElement),
    ...consoles(config),
    ...graphicsElements(config),
    ...pcidevs.map(pciElement),
  ];
}

/** A guest of PV or PVH has Xen's console; one of HVM a serial port for each that it is given. */
function consoles({ c_info, b_info }: XlConfig): readonly XmlElement[] {
  if (c_info.type !== 'hvm')
    return [element('console', { type: 'pty' }, [element('target', { type: 'xen', port: '0' })])];
  const { serial, serial_list = [] } = b_info['type.hvm'] ?? {};
  const given = serial === undefined ? serial_list : [serial, ...serial_list];
  const ports = given.filter((port) => port === 'pty');
  return [
    ...ports.map((_, port) => element('serial', { type: 'pty' }, [element('target', { port: String(port) })])),
    ...(ports.length === 0
      ? []
      : [element('console', { type: 'pty' }, [element('target', { type: 'serial', port: '0' })])]),
  ];
}
