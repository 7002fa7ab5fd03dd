/** A domain as far as snapshots are concerned: its handle, its state, its disks. */

import { arch } from 'node:os';
import type { DiskImage } from './disk-image.ts';
import type { XmlElement } from './element.ts';

/**
 * A domain as libvirt's wire names it. `id` is -1 while it is not active. Look it up by `uuid`: name and id may be out
 * of date.
 */
export interface DomainRef {
  readonly name: string;
  readonly uuid: string;
  readonly id: number;
}

/** A virtual network as libvirt's wire names it. */
export interface NetworkRef {
  readonly name: string;
  readonly uuid: string;
}

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'x86_64',
  ia32: 'i686',
  arm64: 'aarch64',
  arm: 'armv7l',
};

/** libvirt's name of this machine's architecture. */
export const HOST_ARCH = ARCHITECTURES[arch()] ?? arch();

/** virDomainState, in the order of its numbers (libvirt-domain.h). */
export const DOMAIN_STATES = [
  'nostate',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const;

/** A state of a domain, by the word that libvirt writes for it. */
export type DomainState = (typeof DOMAIN_STATES)[number];

/**
 * Details of a domain's state: the numbers of virDomainRunningReason, virDomainPausedReason, virDomainShutoffReason.
 */
export const REASONS = {
  running: { booted: 1, restored: 3, fromSnapshot: 4, unpaused: 5 },
  paused: { user: 1, fromSnapshot: 7 },
  shutoff: { unknown: 0, shutdown: 1, destroyed: 2, saved: 5, fromSnapshot: 7 },
} as const;

/** A domain at one moment. `id` in `ref` is the libxl domid when active. */
export interface Domain {
  readonly ref: DomainRef;
  readonly state: DomainState;
  readonly persistent: boolean;
  /** The domain is off, and its next start resumes a managed save (virDomainManagedSave). */
  readonly managedSave?: true;
}

/** A domain for lists and simple queries, which are answered from memory. */
export interface DomainSummary {
  readonly ref: DomainRef;
  readonly state: DomainState;
  /** One of REASONS. */
  readonly reason: number;
  readonly persistent: boolean;
  readonly maxMemoryKib: bigint;
  readonly memoryKib: bigint;
  readonly vcpus: number;
  /** Nanoseconds; absent if it is not known. */
  readonly cpuTime?: bigint;
  /** The domain starts with the host; absent: it does not. */
  readonly autostart?: boolean;
  /** As in Domain. */
  readonly managedSave?: true;
  /** `os/type` of the definition: `hvm`, `linux`, `xen`. */
  readonly osType: string;
}

/** virDomainObjIsActive: the domain has an id. */
export function isActive({ ref }: Pick<Domain, 'ref'>): boolean {
  return ref.id >= 0;
}

/** `snapshot=` of a disk or of the memory (virDomainSnapshotLocation). */
export const SNAPSHOT_LOCATIONS = ['default', 'no', 'internal', 'external', 'manual'] as const;
/** Whether and where something is captured; `default` if a document does not say. */
export type SnapshotLocation = (typeof SNAPSHOT_LOCATIONS)[number];

/** The values of virStorageType that occur in snapshots. */
export type StorageType = 'none' | 'file' | 'block' | 'dir' | 'network' | 'volume' | 'nvme' | 'vhostuser';

/** A volume of a storage pool, by the names that a definition has. */
export interface StorageVolume {
  readonly pool: string;
  readonly name: string;
}

/** A disk of a domain definition, in libvirt's order of disks (which is not always the document's). */
export interface DomainDisk {
  /** Target name, `xvda`. */
  readonly target: string;
  readonly bus: string;
  readonly device: 'disk' | 'cdrom' | 'floppy' | 'lun';
  readonly type: StorageType;
  /** Source file or block device; absent for an empty drive and for network sources. */
  readonly path?: string;
  /** The source of type `volume`. */
  readonly volume?: StorageVolume;
  /** True if there is a medium: a path, or a network or volume source. */
  readonly hasSource: boolean;
  /** Format in libvirt's words (`raw`, `qcow2`); absent if the definition does not say. */
  readonly format?: string;
  /** `driver/@name`: `qemu`, `phy`, `file`, `tap`, … */
  readonly driver?: string;
  /** `driver/@discard`: whether the guest's discards reach the image. */
  readonly discard?: 'ignore' | 'unmap';
  /** `<backenddomain>`: the domain that serves the disk, and whose files the paths mean. */
  readonly backendDomain?: string;
  /** Names of elements without which the image cannot be read: encryption, slices. Absent if there are none. */
  readonly unreadable?: readonly string[];
  readonly readonly: boolean;
  readonly shareable: boolean;
  /** `snapshot=` of the disk, with libvirt's implied `no` for read-only ones. */
  readonly snapshot: SnapshotLocation;
}

/** A disk whose image only the storage driver of libvirt knows. */
export interface DiskOnVolume {
  /** Its target. */
  readonly disk: string;
  readonly volume: StorageVolume;
  readonly format: string;
}

/** A domain's definition: its document, and its disks, derived once when the document is read. */
export interface DomainDefinition {
  /** The whole `<domain>`, in inactive format, passwords included unless somebody says otherwise. */
  readonly element: XmlElement;
  /** All disks, in libvirt's order. */
  readonly disks: readonly DomainDisk[];
  /** The images of the disks that have a local file or block device, by target (`xvda`). */
  readonly images: ReadonlyMap<string, DiskImage>;
  /** The disks whose images are volumes of storage pools. */
  readonly volumes: readonly DiskOnVolume[];
}

/**
 * How a file is used: opened (`device`: a character device, `pipe`: one that has a name), made in its folder if it is not there
 * (`create`), or bound or connected to as a socket.
 */
export type FileAccess = 'read' | 'write' | 'execute' | 'folder' | 'device' | 'pipe' | 'create' | 'bind' | 'connect';

/** Something in a file system that a definition names, and that is opened or made if a domain is started from it. */
export interface StartFile {
  /** For messages: `disk 'hdc'`, `kernel`. */
  readonly role: string;
  readonly path: string;
  readonly access: FileAccess;
  /** Set for the image of a disk: its backing chain is opened, too. */
  readonly image?: DiskImage;
  /** The file is not opened if there is one of this path. */
  readonly unless?: string;
}
