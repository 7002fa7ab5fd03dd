/** Limits the clients of a socket, so that descriptors and memory are left for the work itself. */

import type { Socket } from 'node:net';
import type { PeerCredentials } from '../../access/caller.ts';
import { descriptorOf } from '../wire/inlet.ts';

/**
 * A client has so long to authenticate, as with sshd (LoginGraceTime). libvirtd has no such time: it lets 20 clients that do
 * not authenticate (max_anonymous_clients) keep out all others.
 */
const AUTHENTICATION_TIMEOUT_MS = 120_000;

/** A client that has been accepted. */
export interface Client {
  /** True on a read-only socket: everything that changes something is refused. */
  readonly readOnly: boolean;
  /** Undefined if the kernel does not report it. */
  readonly peer: PeerCredentials | undefined;
  /** The URI that is opened for a client of this socket that names `qemu:///system`; absent: the one that it names. */
  readonly qemuSystem?: string;
  /** To be called once the client is authenticated: from then on its place is not given to another. */
  authenticated(): void;
}

interface Limits {
  /** Of one socket. */
  readonly max: number;
  readonly peerOf: (fd: number) => PeerCredentials | undefined;
  /** For the log: libvirtd's words. */
  readonly dropped: (text: string) => void;
}

/** The place that a client has. */
interface Place {
  readonly uid: number | undefined;
  /** Ends the connection, and frees the place at once. */
  drop(why: string): void;
}

/** One for each socket. */
export class ClientLimit {
  readonly #limits: Limits;
  readonly #byUser = new Map<number | undefined, number>();
  /** Of clients that have not authenticated yet, oldest first. */
  readonly #anonymous = new Set<Place>();
  #count = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Counts the client until its socket closes. Undefined if it is one too many, and to be dropped. */
  admit(socket: Socket, readOnly: boolean): Client | undefined {
    const { peerOf, dropped } = this.#limits;
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerOf(fd);
    const uid = peer?.uid;
    if (!this.#hasRoom(uid)) {
      dropped(`Too many active clients (${this.#count}), dropping connection from uid ${uid ?? 'unknown'}`);
      return undefined;
    }
    this.#count += 1;
    this.#byUser.set(uid, this.#ofUser(uid) + 1);
    const place: Place = {
      uid,
      drop: (why) => {
        dropped(`dropping connection from uid ${uid ?? 'unknown'}, which has not authenticated: ${why}`);
        left();
        socket.destroy();
      },
    };
    this.#anonymous.add(place);
    const seconds = AUTHENTICATION_TIMEOUT_MS / 1_000;
    const timer = setTimeout(() => place.drop(`${seconds} seconds have passed`), AUTHENTICATION_TIMEOUT_MS);
    const authenticated = (): void => {
      clearTimeout(timer);
      this.#anonymous.delete(place);
    };
    let here = true;
    const left = (): void => {
      authenticated();
      if (here) this.#leave(uid);
      here = false;
    };
    socket.once('close', left);
    return { readOnly, peer, authenticated };
  }

  /** As libvirtd's max_clients; and no user but root may keep all others out. Makes room if it can. */
  #hasRoom(uid: number | undefined): boolean {
    const { max } = this.#limits;
    if (uid !== 0 && this.#ofUser(uid) >= Math.ceil(max / 2) && !this.#dropAnonymous(uid)) return false;
    return this.#count < max || this.#dropAnonymous(this.#mostAnonymous());
  }

  /** The user who has most clients that have not authenticated. */
  #mostAnonymous(): number | undefined {
    const counts = new Map<number | undefined, number>();
    for (const { uid } of this.#anonymous) counts.set(uid, (counts.get(uid) ?? 0) + 1);
    const [most] = [...counts].sort(([, a], [, b]) => b - a);
    return most?.[0];
  }

  /** Ends the oldest of this user's clients that have not authenticated. False if there is none. */
  #dropAnonymous(uid: number | undefined): boolean {
    for (const place of this.#anonymous) {
      if (place.uid !== uid) continue;
      place.drop(`its place is needed, ${this.#count} clients are connected`);
      return true;
    }
    return false;
  }

  #ofUser(uid: number | undefined): number {
    return this.#byUser.get(uid) ?? 0;
  }

  #leave(uid: number | undefined): void {
    this.#count -= 1;
    const ofUser = this.#ofUser(uid) - 1;
    if (ofUser > 0) this.#byUser.set(uid, ofUser);
    else this.#byUser.delete(uid);
  }
}
