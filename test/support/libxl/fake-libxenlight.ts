/**
 * The bindings without libxl behind them: one guest, whose state the calls change as libxl's do. Each call is recorded
 * with its arguments as C would see them; a file descriptor as the name of the file and the offset that it is at, or `pipe`.
 */

import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Libxenlight, Pointer } from '../../../src/libxl/helper/bindings.ts';
import { LibxlContext } from '../../../src/libxl/helper/context.ts';
import type { DomainInfo } from '../../../src/libxl/helper/protocol.ts';

export const CTX = 0x1000n as Pointer;
export const DOMID = 5;
/** The domain that a restore makes. */
export const RESTORED = 6;

/** The functions of libxl that take a while, and change a domain. */
export type LibxlCall =
  | 'get_physinfo'
  | 'domain_suspend'
  | 'domain_resume'
  | 'domain_pause'
  | 'domain_unpause'
  | 'domain_destroy'
  | 'domain_create_restore'
  | 'ao_abort';

export class FakeLibxenlight {
  /** Every call that changes a domain, in order: name, arguments. */
  readonly calls: unknown[][] = [];
  /** Null if there is no domain. */
  guest: DomainInfo | null = { domid: DOMID, running: true };
  /** What a call does instead of its work, once for each time it is set; it returns libxl's error number. */
  readonly instead = new Map<LibxlCall, () => number | Promise<number>>();
  freed = 0;
  /** What a suspend writes; not more than a pipe holds. */
  stream: string | Buffer = 'stream';

  /** Structs by address: what of them is JSON. */
  readonly #structs = new Map<Pointer, string>();
  readonly #numbers = new Map<Pointer, number>();
  #next = 0x2000n;

  context(): Promise<LibxlContext> {
    return LibxlContext.open(0, async () => this.#library()) as Promise<LibxlContext>;
  }

  get names(): readonly unknown[] {
    return this.calls.map(([name]) => name);
  }

  change(state: Partial<DomainInfo>): void {
    this.guest = { ...(this.guest as DomainInfo), ...state };
  }

  /** As libxl_domain_suspend leaves it. */
  suspend(): void {
    this.change({ running: false, shutdown: true, shutdown_reason: 'suspend' });
  }

  async #does(call: LibxlCall, args: readonly unknown[], work: () => void): Promise<number> {
    this.calls.push([call, ...args]);
    const other = this.instead.get(call);
    this.instead.delete(call);
    if (other) return await other();
    work();
    return 0;
  }

  #block = async <T>(use: (block: Pointer) => Promise<T> | T): Promise<T> => {
    const block = this.#next++ as Pointer;
    return await use(block);
  };

  #struct() {
    return {
      with: this.#block,
      toJson: (_: Pointer, struct: Pointer) => this.#structs.get(struct) ?? '{}',
      fromJson: (_: Pointer, struct: Pointer, json: string) => {
        this.#structs.set(struct, json);
        return 0;
      },
      size: async () => 64,
    };
  }

  #library(): Libxenlight {
    const json = (struct: unknown) => JSON.parse(this.#structs.get(struct as Pointer) ?? 'null');
    const library = {
      soname: 'libxenlight.so.4.17',
      withBlock: this.#block,
      readUint32: (at: Pointer) => this.#numbers.get(at) ?? 0,
      writeUint32: (at: Pointer, value: number) => void this.#numbers.set(at, value),
      createLogger: () => 0x10n,
      ctxAlloc: async () => CTX,
      ctxFree: () => void this.freed++,
      dominfo: this.#struct(),
      physinfo: this.#struct(),
      versionInfo: this.#struct(),
      getVersionInfo: () => {
        this.#structs.set(0x500n as Pointer, JSON.stringify({ commandline: 'dom0_mem=1G' }));
        return 0x500n;
      },
      domainConfig: this.#struct(),
      restoreParams: this.#struct(),
      getPhysinfo: () => this.instead.get('get_physinfo')?.() ?? 0,
      domainInfo: (_: Pointer, struct: Pointer, domid: number) => {
        if (this.guest?.domid !== domid) return -21;
        this.#structs.set(struct, JSON.stringify(this.guest));
        return 0;
      },
      domainSuspend: (ctx: Pointer, domid: number, fd: number, flags: number, how: null) =>
        this.#does('domain_suspend', [ctx, domid, openFile(fd), flags, how], () => {
          writeFileSync(fd, this.stream);
          this.suspend();
        }),
      domainResume: (...args: readonly unknown[]) =>
        this.#does('domain_resume', args, () =>
          this.change({ shutdown: false, shutdown_reason: 'poweroff', running: true }),
        ),
      domainPause: (...args: readonly unknown[]) =>
        this.#does('domain_pause', args, () => this.change({ paused: true, running: false })),
      domainUnpause: (...args: readonly unknown[]) =>
        this.#does('domain_unpause', args, () => this.change({ paused: false, running: true })),
      domainDestroy: (...args: readonly unknown[]) =>
        this.#does('domain_destroy', args, () => {
          this.guest = null;
        }),
      domainCreateRestore: (
        ctx: Pointer,
        config: Pointer,
        out: Pointer,
        fd: number,
        sendBack: number,
        params: Pointer,
        how: null,
        console: null,
      ) => {
        const args = [ctx, json(config), this.#numbers.get(out), openFile(fd), sendBack, json(params), how, console];
        this.#numbers.set(out, RESTORED);
        return this.#does('domain_create_restore', args, () => {
          this.guest = { domid: RESTORED, paused: true };
        });
      },
      aoAbort: (...args: readonly unknown[]) => {
        this.calls.push(['ao_abort', ...args]);
        return this.instead.get('ao_abort')?.() ?? 0;
      },
    };
    return library as unknown as Libxenlight;
  }
}

function openFile(fd: number): string {
  const file = readlinkSync(`/proc/self/fd/${fd}`);
  if (file.startsWith('pipe:')) return 'pipe';
  const offset = /^pos:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  return `${basename(file)} at ${offset}`;
}
