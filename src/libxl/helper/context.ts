/** The operations of the helper process on its one libxl context. */

import { closeSync, readFileSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeSame } from '../../files/made-file.ts';
import { type FileAt, openToRead } from '../../files/same-file.ts';
import { openSystemCalls, type SystemCalls } from '../../native/system-calls.ts';
import {
  ERROR_ABORTED,
  ERROR_DOMAIN_NOTFOUND,
  LIBXL_SUSPEND_LIVE,
  type Libxenlight,
  type Pointer,
} from './bindings.ts';
import { intoImage } from './image-stream.ts';
import { openLibxenlight } from './library.ts';
import type { DomainConfig, DomainInfo, DomainName, Held, LibxlOperations, Physinfo, Probe } from './protocol.ts';

/** After a failed suspend the guest may still obey the request that it was sent: how long to look, and how often. */
const SUSPEND_GRACE_MS = 5_000;
const SUSPEND_POLL_MS = 200;
/** An abort that comes before libxl has begun is repeated after this time. */
const ABORT_RETRY_MS = 20;
/** Guests have domids from 1 to below DOMID_FIRST_RESERVED (public/xen.h); 0 is Domain-0. */
const DOMID_FIRST_RESERVED = 0x7ff0;
const INVALID_DOMID = 0xffff_ffff;
/** libxl_domain_create_restore writes a migration v2 stream's domain back; the init value 1 means the legacy format. */
const RESTORE_PARAMS = '{"checkpointed_stream":0,"stream_version":2}';

/** A libxl call that returned an error. */
export class LibxlCallError extends Error {
  readonly rc: number;
  constructor(call: string, rc: number) {
    super(`libxl_${call} returned ${rc}`);
    this.rc = rc;
  }
}

/** The operations over one libxl context. Disposing frees it. */
export class LibxlContext implements LibxlOperations {
  readonly #lib: Libxenlight;
  readonly #ctx: Pointer;
  readonly #system: Pick<SystemCalls, 'pipe'>;
  /** The guest that this process has stopped, how, and the unfinished image of it. */
  #held: (Held & { readonly domid: number; readonly file?: FileAt }) | null = null;
  /** The domain that this process has made and that has not been unpaused yet. */
  #created: number | null = null;
  /** Calls under way that can be aborted. */
  #abortable = 0;

  private constructor(lib: Libxenlight, ctx: Pointer, system: Pick<SystemCalls, 'pipe'>) {
    this.#lib = lib;
    this.#ctx = ctx;
    this.#system = system;
  }

  /** A context, or why there is none. */
  static async open(
    logFd: number,
    load: () => ReturnType<typeof openLibxenlight> = openLibxenlight,
  ): Promise<LibxlContext | Exclude<Probe, { state: 'ready' }>> {
    await refuseBlockedSignals();
    const lib = await load();
    if ('missing' in lib) return { state: 'no-library', message: lib.missing };
    const ctx = await lib.ctxAlloc(lib.createLogger(logFd));
    if (ctx !== null) return new LibxlContext(lib, ctx, await openSystemCalls());
    const text = `${lib.soname} cannot reach Xen: this must be the Domain-0 of a running Xen, and the user root`;
    return { state: 'no-xen', soname: lib.soname, message: text };
  }

  /** A library of another version than the running Xen opens its interfaces all the same; the first hypercall fails. */
  async probe(): Promise<Probe> {
    const { soname } = this.#lib;
    try {
      await this.physinfo();
    } catch (error) {
      const text = `${soname} does not work with the running Xen (are their versions the same?)`;
      return { state: 'no-xen', soname, message: `${text}: ${(error as Error).message}` };
    }
    return { state: 'ready', soname };
  }

  async domainInfo(domid: number): Promise<DomainInfo | null> {
    const { dominfo, domainInfo } = this.#lib;
    return dominfo.with((info) => {
      const rc = domainInfo(this.#ctx, info, domid) as number;
      if (rc === ERROR_DOMAIN_NOTFOUND) return null;
      check('domain_info', rc);
      return JSON.parse(dominfo.toJson(this.#ctx, info)) as DomainInfo;
    });
  }

  async listDomains(): Promise<readonly DomainName[]> {
    const { dominfo, listDomain, dominfoListFree, domidToName, readUint32, withBlock } = this.#lib;
    const stride = BigInt(await dominfo.size());
    return withBlock((count) => {
      const list = listDomain(this.#ctx, count) as Pointer | null;
      if (list === null) throw new LibxlCallError('list_domain', 0);
      const number = readUint32(count);
      try {
        return Array.from({ length: number }, (_, i) => {
          const at = (list + BigInt(i) * stride) as Pointer;
          const info = JSON.parse(dominfo.toJson(this.#ctx, at)) as DomainInfo;
          const { domid = 0, current_memkb = 0 } = info;
          return { ...info, domid, name: domidToName(this.#ctx, domid) ?? '', current_memkb };
        });
      } finally {
        dominfoListFree(list, number);
      }
    });
  }

  async physinfo(): Promise<Physinfo> {
    const { physinfo, getPhysinfo } = this.#lib;
    return physinfo.with((info) => {
      check('get_physinfo', getPhysinfo(this.#ctx, info) as number);
      return JSON.parse(physinfo.toJson(this.#ctx, info)) as Physinfo;
    });
  }

  async commandLine(): Promise<string> {
    const { versionInfo, getVersionInfo } = this.#lib;
    // It belongs to the context.
    const info = getVersionInfo(this.#ctx) as Pointer | null;
    if (info === null) throw new LibxlCallError('get_version_info', 0);
    const { commandline = '' } = JSON.parse(versionInfo.toJson(this.#ctx, info)) as { commandline?: string };
    return commandline;
  }

  async domainConfig(domid: number): Promise<DomainConfig> {
    const { domainConfig, retrieveDomainConfiguration } = this.#lib;
    return domainConfig.with(async (config) => {
      check('retrieve_domain_configuration', await retrieveDomainConfiguration(this.#ctx, domid, config, null));
      return JSON.parse(domainConfig.toJson(this.#ctx, config)) as DomainConfig;
    });
  }

  async suspend(domid: number, file: FileAt, live: boolean): Promise<void> {
    refuseNonGuest(domid);
    const rc = await intoImage(this.#system, file, async (stream) => {
      this.#held = { domid, file, mayBeSuspended: true, paused: false };
      const flags = live ? LIBXL_SUSPEND_LIVE : 0;
      return await this.#abortably(() => this.#lib.domainSuspend(this.#ctx, domid, stream, flags, null));
    });
    check('domain_suspend', rc);
  }

  async pause(domid: number): Promise<void> {
    refuseNonGuest(domid);
    this.#held ??= { domid, mayBeSuspended: false, paused: false };
    this.#hold(domid, { paused: true });
    check('domain_pause', await this.#lib.domainPause(this.#ctx, domid, null));
  }

  async resume(domid: number): Promise<void> {
    check('domain_resume', await this.#lib.domainResume(this.#ctx, domid, 1, null));
    this.#hold(domid, { mayBeSuspended: false });
  }

  async unpause(domid: number): Promise<void> {
    check('domain_unpause', await this.#lib.domainUnpause(this.#ctx, domid, null));
    this.#hold(domid, { paused: false });
    if (this.#created === domid) this.#created = null;
  }

  async release(domid: number, held: Held): Promise<DomainInfo | null> {
    const deadline = Date.now() + SUSPEND_GRACE_MS;
    let info = await this.domainInfo(domid);
    while (held.mayBeSuspended && info && !info.shutdown && !info.dying && Date.now() < deadline) {
      await sleep(SUSPEND_POLL_MS);
      info = await this.domainInfo(domid);
    }
    if (info?.shutdown && info.shutdown_reason === 'suspend') await this.resume(domid);
    if (info?.paused && held.paused) await this.unpause(domid);
    this.#held = null;
    return this.domainInfo(domid);
  }

  async createRestore(config: DomainConfig, path: string, offset: number): Promise<number> {
    const { domainConfig, restoreParams, withBlock, writeUint32, readUint32, domainCreateRestore } = this.#lib;
    const ctx = this.#ctx;
    const fd = openAt(path, offset);
    try {
      return await domainConfig.with((configStruct) =>
        restoreParams.with((params) =>
          withBlock(async (out) => {
            check('domain_config_from_json', domainConfig.fromJson(ctx, configStruct, JSON.stringify(config)));
            check('domain_restore_params_from_json', restoreParams.fromJson(ctx, params, RESTORE_PARAMS));
            writeUint32(out, INVALID_DOMID);
            const rc = await this.#abortably(() =>
              domainCreateRestore(ctx, configStruct, out, fd, -1, params, null, null),
            );
            const domid = readUint32(out);
            if (isGuest(domid)) this.#created = domid;
            // After an abort, and only then, libxl leaves the half-made domain to its caller.
            if (rc === ERROR_ABORTED && isGuest(domid)) await this.destroy(domid);
            if (rc !== 0) this.#created = null;
            check('domain_create_restore', rc);
            return domid;
          }),
        ),
      );
    } finally {
      closeSync(fd);
    }
  }

  async destroy(domid: number): Promise<void> {
    if (domid !== this.#created) throw new Error(`domain ${domid} was not made by this helper: not destroyed`);
    this.#created = null;
    check('domain_destroy', await this.#lib.domainDestroy(this.#ctx, domid, null));
  }

  /** Asks the suspend or restore under way to end; it then fails with ERROR_ABORTED, or succeeds if it was quicker. */
  async abort(): Promise<void> {
    while (this.#abortable > 0) {
      const rc = this.#lib.aoAbort(this.#ctx, null) as number;
      if (rc === 0 || rc === ERROR_ABORTED) return;
      await sleep(ABORT_RETRY_MS);
    }
  }

  /** The daemon has died: lets the guest run again, removes its unfinished image, and destroys a half-made domain. */
  async abandon(): Promise<void> {
    const held = this.#held;
    if (held && (held.mayBeSuspended || held.paused)) {
      await this.release(held.domid, held);
      if (held.file) await removeSame(held.file);
    }
    if (this.#created !== null) await this.destroy(this.#created);
  }

  close(): void {
    this.#lib.ctxFree(this.#ctx);
  }

  async #abortably(call: () => Promise<number>): Promise<number> {
    this.#abortable++;
    try {
      return await call();
    } finally {
      this.#abortable--;
    }
  }

  #hold(domid: number, change: Partial<Held>): void {
    if (this.#held?.domid === domid) this.#held = { ...this.#held, ...change };
  }
}

function check(call: string, rc: number): void {
  if (rc !== 0) throw new LibxlCallError(call, rc);
}

function isGuest(domid: number): boolean {
  return domid > 0 && domid < DOMID_FIRST_RESERVED;
}

/** The last line of defence: a suspended Domain-0 is a dead machine. */
function refuseNonGuest(domid: number): void {
  if (!isGuest(domid)) throw new Error(`domain ${domid} is not a guest: it is not touched`);
}

/** libxl reads from the descriptor's position, so the header is skipped by reading it. */
function openAt(path: string, offset: number): number {
  const fd = openToRead(path);
  const header = Buffer.alloc(offset);
  for (let read = 0; read < offset; ) {
    const bytes = readSync(fd, header, read, offset - read, null);
    if (bytes === 0) throw new Error(`'${path}' ends before its stream`);
    read += bytes;
  }
  return fd;
}

/** QEMU and libxl's helpers inherit the calling thread's signal mask, and libxl does not reset it: it must be empty. */
async function refuseBlockedSignals(): Promise<void> {
  const path = '/proc/thread-self/status';
  for (const status of [readFileSync(path, 'latin1'), await readFile(path, 'latin1')]) {
    const mask = /^SigBlk:\s*(\S+)/m.exec(status)?.[1];
    if (mask === undefined || !/^0+$/.test(mask)) {
      throw new Error(`signals are blocked in this process (SigBlk ${mask}): programs that libxl starts would not end`);
    }
  }
}
