/** polkit on the system bus (org.freedesktop.PolicyKit1.Authority). Connects with the first question. */

import type { Authority, Authorization, AuthorizationRequest } from '../access/authority.ts';
import type { Subject } from '../access/caller.ts';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { busSocket } from './address.ts';
import { Bus, type BusMethod, variant } from './bus.ts';

const AUTHORITY = {
  destination: 'org.freedesktop.PolicyKit1',
  path: '/org/freedesktop/PolicyKit1/Authority',
  interface: 'org.freedesktop.PolicyKit1.Authority',
} as const;

/** A decision without a question to the user: libvirt's own timeout. */
const DECISION_TIMEOUT_MS = 30_000;

/** A user types a password. */
const PASSWORD_TIMEOUT_MS = 5 * 60_000;

/** AllowUserInteraction. */
const INTERACTION = 0x1;

export class Polkit implements Authority, AsyncDisposable {
  readonly #bus: string;
  readonly #log: (text: string) => void;
  readonly #stop = new AbortController();
  #connection: Promise<Bus> | undefined;
  #questions = 0;

  /** `bus`: `system`, or the address of a bus. */
  constructor(bus: string, log: (text: string) => void) {
    this.#bus = bus;
    this.#log = log;
  }

  async check({ subject, action, details = {}, interactive, signal }: AuthorizationRequest): Promise<Authorization> {
    this.#questions += 1;
    const cancellation = `xlsnapd-${this.#questions}`;
    try {
      const bus = await this.#connected();
      const body = [subjectStruct(subject), action, details, interactive ? INTERACTION : 0, cancellation];
      const question: BusMethod = { ...AUTHORITY, member: 'CheckAuthorization', signature: '(sa{sv})sa{ss}us', body };
      const timeout = AbortSignal.timeout(interactive ? PASSWORD_TIMEOUT_MS : DECISION_TIMEOUT_MS);
      const [answer] = await bus.call(question, AbortSignal.any([signal, timeout])).catch((error) => {
        if (signal.aborted || timeout.aborted) this.#cancel(bus, cancellation);
        throw error;
      });
      const [authorized, challenge, words] = answer as [boolean, boolean, Readonly<Record<string, string>>];
      return { authorized, challenge, dismissed: words['polkit.dismissed'] === 'true' };
    } catch (error) {
      const text = `polkit cannot be asked for ${action}: ${asLibvirtError(error).detail}`;
      this.#log(text);
      throw new LibvirtError('AUTH_FAILED', text, { domain: 'POLKIT', cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const bus = await this.#connection?.catch(() => undefined);
    await bus?.[Symbol.asyncDispose]();
  }

  #connected(): Promise<Bus> {
    this.#connection ??= this.#connect();
    return this.#connection;
  }

  async #connect(): Promise<Bus> {
    const forget = (): void => {
      this.#connection = undefined;
    };
    try {
      const bus = await Bus.connect({
        socket: busSocket(this.#bus),
        // Nobody has a reason to call this connection.
        answer: async () => ({ error: 'org.freedesktop.DBus.Error.AccessDenied', text: 'nothing is served here' }),
        log: this.#log,
        signal: this.#stop.signal,
      });
      void bus.closed.then(forget);
      return bus;
    } catch (error) {
      forget();
      throw error;
    }
  }

  /** Closes the dialog of a client that has gone. */
  #cancel(bus: Bus, cancellation: string): void {
    const call = { ...AUTHORITY, member: 'CancelCheckAuthorization', signature: 's', body: [cancellation] };
    void bus.call(call, AbortSignal.timeout(DECISION_TIMEOUT_MS)).catch(() => {});
  }
}

function subjectStruct(subject: Subject): readonly unknown[] {
  if (subject.kind === 'system-bus-name') return [subject.kind, { name: variant('s', subject.name) }];
  const { pid, startTime, uid } = subject;
  return [subject.kind, { pid: variant('u', pid), 'start-time': variant('t', startTime), uid: variant('i', uid | 0) }];
}
