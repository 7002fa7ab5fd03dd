/** Limits the clients of a socket, so that descriptors and memory are left for the work itself. */

import type { Socket } from 'node:net';
import type { PeerCredentials } from '../../access/caller.ts';
import { descriptorOf } from '../wire/inlet.ts';

/** A client that has been let in. */
export interface Client {
  /** True on a read-only socket: everything that changes something is refused. */
  readonly readOnly: boolean;
  /** Undefined if the kernel does not report it. */
  readonly peer: PeerCredentials | undefined;
}

interface Limits {
  /** Of one socket. */
  readonly max: number;
  readonly peerOf: (fd: number) => PeerCredentials | undefined;
  /** For the log: libvirtd's words. */
  readonly dropped: (text: string) => void;
}

/** One for each socket. */
export class ClientLimit {
  readonly #limits: Limits;
  readonly #byUser = new Map<number | undefined, number>();
  #count = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Counts the client until its socket closes. Undefined if it is one too many, and to be dropped. */
  admit(socket: Socket, readOnly: boolean): Client | undefined {
    const { max, peerOf, dropped } = this.#limits;
    const fd = descriptorOf(socket);
    const peer = fd === undefined ? undefined : peerOf(fd);
    const uid = peer?.uid;
    const ofUser = this.#byUser.get(uid) ?? 0;
    // As libvirtd's max_clients; and no user but root may keep all others out.
    if (this.#count >= max || (uid !== 0 && ofUser >= Math.ceil(max / 2))) {
      dropped(`Too many active clients (${this.#count}), dropping connection from uid ${uid ?? 'unknown'}`);
      return undefined;
    }
    this.#count += 1;
    this.#byUser.set(uid, ofUser + 1);
    socket.once('close', () => this.#left(uid));
    return { readOnly, peer };
  }

  #left(uid: number | undefined): void {
    this.#count -= 1;
    const ofUser = (this.#byUser.get(uid) ?? 1) - 1;
    if (ofUser > 0) this.#byUser.set(uid, ofUser);
    else this.#byUser.delete(uid);
  }
}
