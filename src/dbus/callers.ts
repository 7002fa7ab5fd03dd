/** Decides who may call on the bus, and what: as a client of the daemon's write socket. */

import type { Acl, Judge } from '../access/acl.ts';
import type { Entry } from '../access/authentication.ts';
import { authenticate } from '../access/authority.ts';
import { isTrusted, type Subject } from '../access/caller.ts';
import { judgedSnapshots } from '../access/judged-snapshots.ts';
import { asLibvirtError, isLibvirtError, neverAborted } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { type Credentials, mayConnect, type SocketAccess } from './access.ts';
import type { DomainSource, Served } from './objects.ts';

/** Callers that polkit has let in are remembered: as many as a bus has connections. */
const ADMITTED_MAX = 1_000;

interface CallersOptions {
  /** The write socket's file. */
  readonly socket: SocketAccess;
  /** How its clients are let in. */
  readonly entry: Entry;
  readonly acl: Acl | undefined;
}

export class Callers {
  readonly #options: CallersOptions;
  /** Unique names of connections, which are never used again. */
  readonly #admitted = new Set<string>();

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  /**
   * True if all who may call may also know every domain. Signals go to all of them: the bus cannot be asked to send one to
   * those only whom libvirt's access drivers let see its domain.
   */
  get mayHear(): boolean {
    return this.#options.acl === undefined;
  }

  /** Returns what this caller may use, or why it may use nothing. */
  async admit(served: Served, sender: string, caller: Credentials): Promise<Served | { readonly refused: string }> {
    const { socket, acl } = this.#options;
    if (isTrusted(caller.uid)) return served;
    if (!mayConnect(socket, caller)) {
      const user = `user ${caller.uid ?? 'unknown'}`;
      return { refused: `${user} may not connect to the socket of xlsnapd, and so may not call it here` };
    }
    const subject: Subject = { kind: 'system-bus-name', name: sender };
    const judge = acl?.judge(subject, neverAborted());
    try {
      await this.#authenticate(subject);
      // What a client of the socket needs to open a connection.
      await judge?.connect('getattr');
    } catch (error) {
      return { refused: asLibvirtError(error).message };
    }
    return judge ? judged(served, judge) : served;
  }

  async #authenticate(subject: Subject & { kind: 'system-bus-name' }): Promise<void> {
    const { entry } = this.#options;
    if (entry.scheme === 'none' || this.#admitted.has(subject.name)) return;
    if (entry.scheme === 'closed') throw new Error(`only root may call xlsnapd: ${entry.reason}`);
    const request = { subject, action: 'org.libvirt.unix.manage', interactive: false, signal: neverAborted() };
    await authenticate(entry.authority, request);
    if (this.#admitted.size >= ADMITTED_MAX) this.#admitted.clear();
    this.#admitted.add(subject.name);
  }
}

function judged({ places, domains, snapshots }: Served, judge: Judge): Served {
  const visible = async (ref: DomainRef): Promise<readonly DomainRef[]> => {
    try {
      await judge.domain(ref, 'getattr');
      return [ref];
    } catch (error) {
      if (isLibvirtError(error, 'ACCESS_DENIED', 'NO_DOMAIN')) return [];
      throw error;
    }
  };
  const judgedDomains: DomainSource = {
    async lookup(ref) {
      await judge.domain(ref, 'getattr');
      return await domains.lookup(ref);
    },
    async state(ref) {
      await judge.domain(ref, 'read');
      return await domains.state(ref);
    },
    async list(flags) {
      await judge.connect('search-domains');
      return (await Promise.all((await domains.list(flags)).map(visible))).flat();
    },
    async all() {
      return (await Promise.all((await domains.all()).map(visible))).flat();
    },
    version: () => domains.version(),
    libVersion: () => domains.libVersion(),
  };
  return { places, domains: judgedDomains, snapshots: judgedSnapshots(snapshots, judge) };
}
