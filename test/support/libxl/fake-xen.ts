/**
 * A guest without Xen: one domain that can be suspended, paused and restored, and whose calls can be made to fail. It
 * stands in for the helper process, the one part that needs a hypervisor; the lab's tests have the real one.
 */

import { appendFile } from 'node:fs/promises';
import { LibvirtError } from '../../../src/errors.ts';
import type { LongOperation } from '../../../src/libxl/helper/client.ts';
import type { DomainConfig, DomainInfo, Held } from '../../../src/libxl/helper/protocol.ts';
import type { LibxlSession, Toolstack } from '../../../src/libxl/toolstack.ts';

/** Ident, version and options of a libxl stream, something in it, and its END record. */
export const STREAM = Buffer.concat([
  Buffer.from('LibxlFmt\0\0\0\x02\0\0\0\0'),
  Buffer.alloc(5000, 1),
  Buffer.alloc(8),
]);

export const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const CONFIG = { c_info: { type: 'pvh', name: 'vm', uuid: UUID, domid: 5 }, b_info: { 'type.pvh': {} } };

type Call = Exclude<keyof LibxlSession, typeof Symbol.asyncDispose>;

export class FakeXen implements Toolstack {
  readonly domid = 5;
  /** Null when there is no domain. */
  guest: DomainInfo | null = { uuid: UUID, domid: 5, running: true, current_memkb: 4, domain_type: 'hvm' };
  shadow = true;
  /** What a restore was given. */
  config: DomainConfig | undefined;
  /** What libxl_retrieve_domain_configuration tells beside name and type. */
  facts: object = {};
  readonly xenstore = new Map<string, string>();
  /** Every call of every helper, in order. */
  readonly calls: string[] = [];
  /** What a call does instead of its work. Called with the number of the helper, counted from 1. */
  readonly instead = new Map<Call, (helper: number) => void | Promise<void>>();
  qmpSocket = '/nowhere';
  #helpers = 0;
  #open = 0;

  get openHelpers(): number {
    return this.#open;
  }

  async qmpSocketOf(): Promise<string> {
    return this.qmpSocket;
  }

  readonly readXenstore = async (path: string): Promise<string | undefined> => this.xenstore.get(path);

  fail(call: Call, message: string): void {
    this.instead.set(call, () => {
      throw new LibvirtError('INTERNAL_ERROR', message);
    });
  }

  startHelper(): LibxlSession {
    const helper = ++this.#helpers;
    this.#open++;
    const does = async (call: Call, work: () => void | Promise<void>) => {
      this.calls.push(call);
      const other = this.instead.get(call);
      await (other ? other(helper) : work());
    };
    const change = (state: Partial<DomainInfo>) => {
      this.guest = { ...(this.guest as DomainInfo), ...state };
    };
    const session: LibxlSession = {
      probe: async () => ({ state: 'ready', soname: 'fake' }),
      domainInfo: async (domid) => (domid === this.domid ? this.guest : null),
      listDomains: async () =>
        this.guest ? [{ domid: this.domid, uuid: UUID, name: 'vm', current_memkb: this.guest.current_memkb ?? 0 }] : [],
      physinfo: async () => ({ cap_shadow: this.shadow, free_pages: 100, scrub_pages: 5, outstanding_pages: 10 }),
      commandLine: async () => 'dom0_mem=1G',
      domainConfig: async () => ({ ...CONFIG, ...this.facts }),
      suspend: (_, { path }, __, options?: LongOperation) =>
        does('suspend', async () => {
          await appendFile(path, STREAM);
          options?.progress?.();
          this.suspended();
        }),
      pause: () => does('pause', () => change({ paused: true })),
      resume: () => does('resume', () => change({ shutdown: false, shutdown_reason: 'poweroff' })),
      unpause: () => does('unpause', () => change({ paused: false, running: true })),
      release: async (_, held: Held) => {
        await does('release', () => {
          if (this.guest?.shutdown && held.mayBeSuspended) change({ shutdown: false });
          if (this.guest?.paused && held.paused) change({ paused: false });
        });
        return this.guest;
      },
      createRestore: async (config) => {
        await does('createRestore', () => {
          this.config = config;
          this.guest = { uuid: UUID, domid: 5, paused: true };
        });
        return this.domid;
      },
      destroy: () =>
        does('destroy', () => {
          this.guest = null;
        }),
      [Symbol.asyncDispose]: async () => void this.#open--,
    };
    return session;
  }

  /** As libxl_domain_suspend leaves it. */
  suspended(): void {
    this.guest = { ...(this.guest as DomainInfo), running: false, shutdown: true, shutdown_reason: 'suspend' };
  }

  get runs(): boolean {
    return this.guest !== null && !this.guest.paused && !this.guest.shutdown;
  }
}
