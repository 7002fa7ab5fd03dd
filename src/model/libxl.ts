/** libxl_device_disk as libxl's own to_json prints it; an absent field has libxl's default. */
export interface LibxlDeviceDisk {
  readonly backend_domid?: number;
  readonly backend_domname?: string;
  readonly pdev_path?: string;
  readonly vdev: string;
  readonly backend?: 'unknown' | 'phy' | 'tap' | 'qdisk' | 'standalone';
  readonly format?: LibxlDiskFormat;
  readonly script?: string;
  readonly removable?: number;
  readonly readwrite?: number;
  readonly is_cdrom?: number;
  readonly direct_io_safe?: boolean;
  readonly discard_enable?: LibxlDefbool;
}

/** libxl_disk_format, as libxl prints it. */
export type LibxlDiskFormat = 'unknown' | 'qcow' | 'qcow2' | 'vhd' | 'raw' | 'empty' | 'qed';

/** libxl_defbool. In libxl-json it is `True`, `False` or `<default>`, never a JSON boolean: libxl would skip that. */
export type LibxlDefbool = boolean | '<default>';

/** One disk's part in a snapshot. `disk` is libxl's own struct, embedded. */
export interface LibxlDiskSnapshot {
  readonly disk: LibxlDeviceDisk;
  /** Name of the internal snapshot inside the image; unused if `external`. */
  readonly name?: string;
  readonly external?: boolean;
  readonly external_format?: LibxlDiskFormat;
  readonly external_path?: string;
  /** The overlay exists already, made by the caller with the right backing image. Default: it must not exist. */
  readonly external_reuse?: boolean;
}

/** Parameters of domainSnapshotSave. The caller supplies every path. */
export interface LibxlDomainSnapshotArgs {
  /** Save the RAM. Default: yes if `memory_path` is given. */
  readonly memory?: LibxlDefbool;
  readonly memory_path?: string;
  /** Keep the guest running while RAM is written, except during the last pass (LIBXL_SUSPEND_LIVE). Default: no. */
  readonly live?: LibxlDefbool;
  readonly disks?: readonly LibxlDiskSnapshot[];
}

/** An internal snapshot of one disk, by its name. */
export type InternalSnapshot = Pick<LibxlDiskSnapshot, 'disk'> & { readonly name: string };

/** A disk after the snapshot. */
export interface LibxlDiskSnapshotResult extends LibxlDiskSnapshot {
  /** The active image. */
  readonly path?: string;
  /** Its backing image, if it has one. */
  readonly backing?: string;
  /** QEMU's block node of the active image. */
  readonly node?: string;
}

/** Result of domainSnapshotSave, parameter of domainSnapshotRestore. */
export interface LibxlDomainSnapshot {
  readonly name: string;
  readonly memory?: boolean;
  readonly memory_path?: string;
  /** Size of the memory image with its header, bytes. */
  readonly memory_bytes?: number;
  /** Seconds since the epoch. */
  readonly creation_time?: number;
  readonly disks?: readonly LibxlDiskSnapshotResult[];
  /** libxl_domain_config in libxl-json, without a domid. domainSnapshotRestore builds the new domain from it. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly timings?: LibxlSnapshotTimings;
}

/** Durations of the steps, milliseconds. */
export interface LibxlSnapshotTimings {
  readonly suspend_ms?: number;
  readonly disks_ms?: number;
  /** From the end of the suspend to the unpause: the time that disks and our own steps add to libxl's pause. */
  readonly resume_ms?: number;
}
