/**
 * libxenlight through koffi: the few prototypes that snapshots need (the same in 4.14 to 4.22), every struct opaque.
 * Only the helper process uses this (library.ts finds the library).
 */

import { type LibraryHandle, openFfi } from '../../native/ffi.ts';

/** Address of C memory; koffi has bare bigints for it. */
export type Pointer = bigint & { readonly __brand: 'pointer' };

const TOOLLOG_SONAME = 'libxentoollog.so.1';

/** Room for any libxl struct of any version (the largest is 1.4 KiB). */
const STRUCT_BYTES = 64 << 10;

/** xentoollog.h */
const XTL_PROGRESS = 4;
const XTL_STDIOSTREAM_PROGRESS_NO_CR = 0o20;
/** stdio.h of Linux's C libraries */
const IOLBF = 1;

/** libxl.h, libxl_types.idl */
export const LIBXL_SUSPEND_LIVE = 2;
/** libxl's error of a call that was aborted. */
export const ERROR_ABORTED = -22;
/** libxl's error for a domain that does not exist. */
export const ERROR_DOMAIN_NOTFOUND = -21;

/** A function of libxl as a promise: it runs on a pool thread and does not block the event loop. */
type AsyncCall = (...args: readonly unknown[]) => Promise<number>;

/** An IDL type: libxl_<name>_init, _dispose, _to_json, and _from_json if it is read. */
type StructName = 'dominfo' | 'physinfo' | 'version_info' | 'domain_config' | 'domain_restore_params' | 'device_disk';

/** The functions of libxenlight that are used here. */
export type Libxenlight = Awaited<ReturnType<typeof loadLibxenlight>>;

/** The bindings to a library that koffi has loaded. Rejects if it lacks one of the functions. */
export async function loadLibxenlight(lib: LibraryHandle, soname: string) {
  const koffi = await openFfi();
  const toollog = koffi.load(TOOLLOG_SONAME);
  const libc = koffi.load(null);

  const libxl = (name: string, ...args: readonly string[]) => lib.func(`libxl_${name}`, 'int', [...args]);
  const ao = (name: string, ...args: readonly string[]) => promised(libxl(name, 'void *', ...args, 'void *'));

  const free = libc.func('free', 'void', ['void *']);
  const calloc = libc.func('calloc', 'void *', ['size_t', 'size_t']);
  const fdopen = libc.func('fdopen', 'void *', ['int', 'str']);
  const setvbuf = libc.func('setvbuf', 'int', ['void *', 'void *', 'int', 'size_t']);
  const createLogger = toollog.func('xtl_createlogger_stdiostream', 'void *', ['void *', 'int', 'uint32']);
  const domidToName = lib.func('libxl_domid_to_name', 'void *', ['void *', 'uint32']);
  const ctxAlloc = libxl('ctx_alloc', 'void *', 'int', 'uint32', 'void *');

  /** A zeroed block, large enough for any struct, until the callback has ended. */
  async function withBlock<T>(use: (block: Pointer) => Promise<T> | T): Promise<T> {
    const block = calloc(1, STRUCT_BYTES) as Pointer;
    try {
      return await use(block);
    } finally {
      free(block);
    }
  }

  /** The value of a `char *` that libxl has allocated. */
  function takeString(pointer: Pointer): string {
    const value = koffi.decode(pointer, 'char', -1) as string;
    free(pointer);
    return value;
  }

  function structType(name: StructName) {
    const init = lib.func(`libxl_${name}_init`, 'void', ['void *']);
    const dispose = lib.func(`libxl_${name}_dispose`, 'void', ['void *']);
    const toJson = lib.func(`libxl_${name}_to_json`, 'void *', ['void *', 'void *']);
    const fromJson = libxl(`${name}_from_json`, 'void *', 'void *', 'str');
    return {
      /** An initialised struct until the callback has ended. */
      with: <T>(use: (struct: Pointer) => Promise<T> | T): Promise<T> =>
        withBlock(async (struct) => {
          init(struct);
          try {
            return await use(struct);
          } finally {
            dispose(struct);
          }
        }),
      toJson: (ctx: Pointer, struct: Pointer): string => takeString(toJson(ctx, struct) as Pointer),
      /** Never with a null ctx: it would crash. Unknown keys are skipped by libxl. */
      fromJson: (ctx: Pointer, struct: Pointer, json: string): number => fromJson(ctx, struct, json) as number,
      /** sizeof: the last byte that init touches, whatever was there before. */
      size: (): Promise<number> =>
        withBlock((block) => {
          const touched = [0xaa, 0x55].map((fill) => {
            const bytes = new Uint8Array(koffi.view(block, STRUCT_BYTES)).fill(fill);
            init(block);
            return bytes.findLastIndex((byte) => byte !== fill) + 1;
          });
          return Math.max(...touched);
        }),
    };
  }

  return {
    soname,
    withBlock,
    readUint32: (at: Pointer): number => koffi.decode(at, 'uint32') as number,
    writeUint32: (at: Pointer, value: number): void => koffi.encode(at, 'uint32', value),

    /** A logger that writes a line per message and per step of progress to `fd`, which it keeps. */
    createLogger(fd: number): Pointer {
      const file = fdopen(fd, 'w');
      setvbuf(file, null, IOLBF, 0);
      return createLogger(file, XTL_PROGRESS, XTL_STDIOSTREAM_PROGRESS_NO_CR) as Pointer;
    },
    /** A context, or null if Xen cannot be used; the log says why. */
    ctxAlloc: (logger: Pointer): Promise<Pointer | null> =>
      withBlock((out) => (ctxAlloc(out, 0, 0, logger) === 0 ? (koffi.decode(out, 'void *') as Pointer) : null)),
    ctxFree: libxl('ctx_free', 'void *'),

    dominfo: structType('dominfo'),
    physinfo: structType('physinfo'),
    versionInfo: structType('version_info'),
    domainConfig: structType('domain_config'),
    restoreParams: structType('domain_restore_params'),
    deviceDisk: structType('device_disk'),

    domainInfo: libxl('domain_info', 'void *', 'void *', 'uint32'),
    getPhysinfo: libxl('get_physinfo', 'void *', 'void *'),
    getVersionInfo: lib.func('libxl_get_version_info', 'void *', ['void *']),
    listDomain: lib.func('libxl_list_domain', 'void *', ['void *', 'void *']),
    dominfoListFree: lib.func('libxl_dominfo_list_free', 'void', ['void *', 'int']),
    domidToName: (ctx: Pointer, domid: number): string | null => {
      const name = domidToName(ctx, domid) as Pointer | null;
      return name && takeString(name);
    },
    retrieveDomainConfiguration: ao('retrieve_domain_configuration', 'uint32', 'void *'),
    domainSuspend: ao('domain_suspend', 'uint32', 'int', 'int'),
    domainResume: ao('domain_resume', 'uint32', 'int'),
    domainPause: ao('domain_pause', 'uint32'),
    domainUnpause: ao('domain_unpause', 'uint32'),
    domainDestroy: ao('domain_destroy', 'uint32'),
    domainCreateRestore: promised(
      libxl('domain_create_restore', 'void *', 'void *', 'void *', 'int', 'int', 'void *', 'void *', 'void *'),
    ),
    aoAbort: libxl('ao_abort', 'void *', 'void *'),
  };
}

function promised(call: ReturnType<LibraryHandle['func']>): AsyncCall {
  return (...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: unknown, rc: number) => (error ? reject(error) : resolve(rc)));
    });
}
