/**
 * The fields of libxl_domain_config (libxl_types.idl of Xen 4.15 to 4.22) that a `<domain>` shows, as `xl list -l` and
 * `xl create -n -q` print them. An absent field has libxl's default; there are many more, which stay in the JSON.
 */

import { LibvirtError } from '../../errors.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';

/** libxl_defbool as it is in JSON. */
export type Defbool = 'True' | 'False' | '<default>';

/** A disk as it is in JSON: its defbools are words. */
export type ConfigDisk = Omit<LibxlDeviceDisk, 'discard_enable'> & { readonly discard_enable?: Defbool };

/** libxl_domain_config. */
export interface XlConfig {
  readonly c_info: {
    readonly type?: 'hvm' | 'pv' | 'pvh';
    readonly name?: string;
    readonly uuid?: string;
    readonly domid?: number;
    readonly hap?: Defbool;
    readonly passthrough?: string;
  };
  readonly b_info: BuildInfo;
  readonly disks?: readonly ConfigDisk[];
  readonly nics?: readonly Nic[];
  readonly pcidevs?: readonly Pci[];
  readonly vfbs?: readonly Vfb[];
  readonly channels?: readonly Channel[];
  readonly on_poweroff?: string;
  readonly on_reboot?: string;
  readonly on_crash?: string;
}

/** libxl_domain_build_info. Sizes are in KiB. */
export interface BuildInfo {
  readonly max_vcpus?: number;
  readonly avail_vcpus?: readonly number[];
  readonly max_memkb?: number;
  readonly target_memkb?: number;
  readonly video_memkb?: number;
  readonly rtc_timeoffset?: number;
  readonly localtime?: Defbool;
  readonly tsc_mode?: string;
  readonly device_model?: string;
  readonly sched_params?: { readonly weight?: number };
  readonly kernel?: string;
  readonly cmdline?: string;
  readonly ramdisk?: string;
  readonly bootloader?: string;
  readonly bootloader_args?: readonly string[];
  readonly max_grant_frames?: number;
  readonly event_channels?: number;
  readonly nested_hvm?: Defbool;
  readonly apic?: Defbool;
  readonly acpi?: Defbool;
  readonly 'type.hvm'?: Hvm;
  /** Before 4.15 a PV guest's boot loader was here, as in libvirt's tests. */
  readonly 'type.pv'?: Pick<BuildInfo, 'bootloader' | 'bootloader_args' | 'kernel' | 'cmdline' | 'ramdisk'> & {
    readonly e820_host?: Defbool;
  };
}

/** The part of libxl_domain_build_info that HVM guests have. */
export interface Hvm {
  readonly pae?: Defbool;
  readonly apic?: Defbool;
  readonly acpi?: Defbool;
  readonly hpet?: Defbool;
  readonly viridian?: Defbool;
  readonly nested_hvm?: Defbool;
  readonly acpi_firmware?: string;
  readonly bios?: string;
  readonly boot?: string;
  readonly nographic?: Defbool;
  readonly vga?: { readonly kind?: string };
  readonly vnc?: Vnc;
  readonly sdl?: Sdl;
  readonly spice?: Spice;
  readonly serial?: string;
  readonly serial_list?: readonly string[];
  readonly usbdevice?: string;
  readonly usbdevice_list?: readonly string[];
}

/** libxl_vnc_info. */
export interface Vnc {
  readonly enable?: Defbool;
  readonly listen?: string;
  readonly passwd?: string;
  readonly display?: number;
  readonly findunused?: Defbool;
}

/** libxl_sdl_info. */
export interface Sdl {
  readonly enable?: Defbool;
  readonly display?: string;
  readonly xauthority?: string;
}

/** libxl_spice_info. */
export interface Spice {
  readonly enable?: Defbool;
  readonly port?: number;
  readonly tls_port?: number;
  readonly host?: string;
  readonly passwd?: string;
  readonly agent_mouse?: Defbool;
  readonly clipboard_sharing?: Defbool;
}

/** libxl_device_vfb. */
export interface Vfb {
  readonly devid?: number;
  readonly vnc?: Vnc;
  readonly sdl?: Sdl;
}

/** libxl_device_nic. */
export interface Nic {
  readonly devid?: number;
  readonly model?: string;
  readonly mac?: string;
  readonly ip?: string;
  readonly bridge?: string;
  readonly ifname?: string;
  readonly script?: string;
  readonly nictype?: 'unknown' | 'vif' | 'vif_ioemu';
  readonly backend_domname?: string;
}

/** libxl_device_pci. */
export interface Pci {
  readonly domain?: number;
  readonly bus?: number;
  readonly dev?: number;
  readonly func?: number;
  readonly permissive?: boolean;
}

/** libxl_device_channel. */
export interface Channel {
  readonly name?: string;
  readonly 'connection.pty'?: object;
  readonly 'connection.socket'?: { readonly path?: string };
}

/** True if it is on, and not left to libxl. */
export function isOn(value: Defbool | undefined): boolean {
  return value === 'True';
}

/** Returns what was read from JSON. Refuses (INVALID_ARG) what cannot be a libxl_domain_config; `what` names it. */
export function asConfig(json: unknown, what: string): XlConfig {
  const { c_info, b_info } = (isObject(json) ? json : {}) as Partial<XlConfig>;
  if (isObject(c_info) && isObject(b_info)) return json as XlConfig;
  throw new LibvirtError('INVALID_ARG', `${what} is not a libxl_domain_config: it has no c_info and b_info`);
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);
