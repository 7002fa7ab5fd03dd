/** A connection's way from its first call to being let in, as libvirtd has it for UNIX sockets. */

import { LibvirtError } from '../errors.ts';
import { type Authority, authenticate } from './authority.ts';
import { isTrusted, type PeerCredentials, processSubject } from './caller.ts';

/** auth_unix_rw and auth_unix_ro of libvirtd.conf. */
export const AUTH_SCHEMES = ['none', 'polkit', 'sasl'] as const;
export type AuthScheme = (typeof AUTH_SCHEMES)[number];

/** remote_auth_type. */
export const AUTH_TYPE = { NONE: 0, POLKIT: 2 } as const;

/** How clients of a socket are let in: by its mode alone, by polkit, or not at all unless they are root's. */
export type Entry =
  | { readonly scheme: 'none' }
  | { readonly scheme: 'polkit'; readonly authority: Authority }
  | { readonly scheme: 'closed'; readonly reason: string };

/** By socket. */
export interface Entries {
  readonly write: Entry;
  readonly readOnly: Entry;
}

interface Arrived {
  readonly readOnly: boolean;
  readonly peer: PeerCredentials | undefined;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** Called once the client is authenticated. */
  authenticated(): void;
}

/** One for each connection. */
export class Authentication {
  readonly #entry: Entry | undefined;
  readonly #client: Arrived;
  #asked: Promise<void> | undefined;
  #done: boolean;

  /** `entries` undefined: everybody who could connect is let in. */
  constructor(entries: Entries | undefined, client: Arrived) {
    const entry = entries?.[client.readOnly ? 'readOnly' : 'write'];
    this.#entry = entry;
    this.#client = client;
    this.#done = entry === undefined || entry.scheme === 'none' || isTrusted(client.peer?.uid);
    if (this.#done) client.authenticated();
  }

  /** Until then nothing but authentication is served. */
  get done(): boolean {
    return this.#done;
  }

  /** AUTH_LIST's answer. AUTH_FAILED on a closed socket. */
  get type(): number {
    if (this.#done) return AUTH_TYPE.NONE;
    if (this.#entry?.scheme !== 'closed') return AUTH_TYPE.POLKIT;
    throw new LibvirtError('AUTH_FAILED', `only root may connect to xlsnapd: ${this.#entry.reason}`, { domain: 'RPC' });
  }

  /** AUTH_POLKIT: resolves when polkit has let the client in. May wait for a password. */
  async polkit(): Promise<void> {
    if (this.#done) return;
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    await this.#asked;
  }

  async #ask(): Promise<void> {
    const { peer, readOnly, signal } = this.#client;
    const subject = processSubject(peer);
    if (this.#entry?.scheme !== 'polkit' || !subject) {
      throw new LibvirtError('AUTH_FAILED', 'access denied by policy', { domain: 'POLKIT' });
    }
    const action = readOnly ? 'org.libvirt.unix.monitor' : 'org.libvirt.unix.manage';
    await authenticate(this.#entry.authority, { subject, action, interactive: true, signal });
    this.#done = true;
    this.#client.authenticated();
  }
}
