/**
 * libxl-json of the snapshot structs (schemas/libxl_snapshot.idl), written and read as libxl's generated `*_to_json`
 * and `*_from_json` would: fields in the IDL's order, default values left out, enums and defbools as strings, an indent
 * of four. Unlike libxl, which skips what it does not know, reading refuses unknown fields and wrong types.
 */

import { LibvirtError } from '../errors.ts';
import type {
  LibxlDeviceDisk,
  LibxlDiskSnapshot,
  LibxlDiskSnapshotResult,
  LibxlDomainSnapshot,
  LibxlDomainSnapshotArgs,
  LibxlSnapshotTimings,
} from '../model/libxl.ts';

/**
 * How one value of an IDL type is written in JSON. `write` returns undefined for the type's default, which is left out.
 */
interface JsonType {
  write(value: unknown): unknown;
  /** Throws with what it expected at `at`. */
  read(json: unknown, at: string): unknown;
}

/** A struct: its name for messages, its fields in order. */
export interface StructType<T> extends JsonType {
  readonly name: string;
  readonly fields: Readonly<Record<keyof T & string, JsonType>>;
}

const text: JsonType = {
  write: (value) => value,
  read: (json, at) => (typeof json === 'string' ? json : refuse(at, 'a string')),
};

const integer: JsonType = {
  write: (value) => value || undefined,
  read: (json, at) => (Number.isSafeInteger(json) && (json as number) >= 0 ? json : refuse(at, 'a whole number')),
};

const bool: JsonType = {
  write: (value) => value || undefined,
  read: (json, at) => (typeof json === 'boolean' ? json : refuse(at, 'true or false')),
};

/** libxl_defbool_to_string's words; libxl silently skips a JSON boolean here. */
const DEFBOOL: Readonly<Record<string, unknown>> = { True: true, False: false, '<default>': '<default>' };
const defbool: JsonType = {
  write: (value) => (typeof value === 'boolean' ? (value ? 'True' : 'False') : undefined),
  read: (json, at) =>
    typeof json === 'string' && Object.hasOwn(DEFBOOL, json)
      ? DEFBOOL[json]
      : refuse(at, Object.keys(DEFBOOL).join(', ')),
};

/** libxl_domain_config, which libxl itself writes and reads. */
const foreign: JsonType = {
  write: (value) => value,
  read: (json, at) => (isObject(json) ? json : refuse(at, 'an object')),
};

function enumeration(values: readonly string[]): JsonType {
  return {
    write: (value) => (value === values[0] ? undefined : value),
    read: (json, at) => (typeof json === 'string' && values.includes(json) ? json : refuse(at, values.join(', '))),
  };
}

function array(element: JsonType): JsonType {
  return {
    write: (value) => {
      const list = value as readonly unknown[] | undefined;
      return list?.length ? list.map((item) => element.write(item) ?? {}) : undefined;
    },
    read: (json, at) =>
      Array.isArray(json) ? json.map((item, i) => element.read(item, `${at}[${i}]`)) : refuse(at, 'an array'),
  };
}

function struct<T>(
  name: string,
  required: readonly (keyof T & string)[],
  fields: StructType<T>['fields'],
): StructType<T> {
  const types: Readonly<Record<string, JsonType>> = fields;
  return {
    name,
    fields,
    write: (value) => {
      const given = (value ?? {}) as Readonly<Record<string, unknown>>;
      const written = Object.entries(types).map(([key, type]) => [key, type.write(given[key])] as const);
      const present = written.filter(([, json]) => json !== undefined);
      return present.length > 0 ? Object.fromEntries(present) : undefined;
    },
    read: (json, at) => {
      if (!isObject(json)) return refuse(at, 'an object');
      const missing = required.find((key) => !Object.hasOwn(json, key));
      if (missing !== undefined) return refuse(`${at}.${missing}`, 'a value');
      const entries = Object.entries(json).map(([key, value]) => {
        const type = Object.hasOwn(types, key) ? types[key] : undefined;
        return [key, type ? type.read(value, `${at}.${key}`) : refuseUnknown(`${at}.${key}`)] as const;
      });
      return Object.fromEntries(entries);
    },
  };
}

const DISK_FORMAT = enumeration(['unknown', 'qcow', 'qcow2', 'vhd', 'raw', 'empty', 'qed']);
const DISK_BACKEND = enumeration(['unknown', 'phy', 'tap', 'qdisk', 'standalone']);

/** libxl_device_disk as JSON. */
export const DEVICE_DISK = struct<LibxlDeviceDisk>('libxl_device_disk', ['vdev'], {
  backend_domid: integer,
  backend_domname: text,
  pdev_path: text,
  vdev: text,
  backend: DISK_BACKEND,
  format: DISK_FORMAT,
  script: text,
  removable: integer,
  readwrite: integer,
  is_cdrom: integer,
  direct_io_safe: bool,
  discard_enable: defbool,
});

const diskSnapshotFields: StructType<LibxlDiskSnapshot>['fields'] = {
  disk: DEVICE_DISK,
  name: text,
  external: bool,
  external_format: DISK_FORMAT,
  external_path: text,
  external_reuse: bool,
};

/** libxl_disk_snapshot as JSON. */
export const DISK_SNAPSHOT = struct<LibxlDiskSnapshot>('libxl_disk_snapshot', ['disk'], diskSnapshotFields);

const DISK_SNAPSHOT_RESULT = struct<LibxlDiskSnapshotResult>('libxl_disk_snapshot_result', ['disk'], {
  ...diskSnapshotFields,
  path: text,
  backing: text,
  node: text,
});

/** The parameters of a snapshot: nothing is required, and empty ones ask for a snapshot of nothing. */
export const DOMAIN_SNAPSHOT_ARGS = struct<LibxlDomainSnapshotArgs>('libxl_domain_snapshot_args', [], {
  memory: defbool,
  memory_path: text,
  live: defbool,
  disks: array(DISK_SNAPSHOT),
});

const TIMINGS = struct<LibxlSnapshotTimings>('libxl_snapshot_timings', [], {
  suspend_ms: integer,
  disks_ms: integer,
  resume_ms: integer,
});

/** The result of a save and the parameter of a restore; it has a `name` at least. */
export const DOMAIN_SNAPSHOT = struct<LibxlDomainSnapshot>('libxl_domain_snapshot', ['name'], {
  name: text,
  memory: bool,
  memory_path: text,
  memory_bytes: integer,
  creation_time: integer,
  disks: array(DISK_SNAPSHOT_RESULT),
  config: foreign,
  timings: TIMINGS,
});

/** The struct as libxl would print it: indented, with a newline at the end. */
export function toLibxlJson<T>(type: StructType<T>, value: T): string {
  return `${JSON.stringify(type.write(value) ?? {}, null, 4)}\n`;
}

/** Reads what toLibxlJson or libxl wrote. Refuses (INVALID_ARG) with the path of the first field that does not fit. */
export function fromLibxlJson<T>(type: StructType<T>, json: string): T {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    throw new LibvirtError('INVALID_ARG', `malformed libxl-json of ${type.name}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return type.read(parsed, type.name) as T;
}

function isObject(json: unknown): json is Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function refuse(at: string, expected: string): never {
  throw new LibvirtError('INVALID_ARG', `libxl-json: '${at}' has to be ${expected}`);
}

function refuseUnknown(at: string): never {
  throw new LibvirtError('INVALID_ARG', `libxl-json: there is no field '${at}'`);
}
