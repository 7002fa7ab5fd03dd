/** What a client's frames are: passed on unread, answered here, checked or changed here before they are passed on, or dropped. */

import type { LibvirtError } from '../../errors.ts';
import type { Answer, Answers } from '../server/answers.ts';
import { callRefusal, frameKind, unknownProcedure } from '../server/gate.ts';
import type { Wanted } from '../wire/frame-splitter.ts';
import { type FrameHeader, PROGRAM } from '../wire/frames.ts';
import { undecodable } from '../wire/xdr.ts';
import type { ProxyCall } from './proxy-call.ts';
import type { ProxyContext } from './proxy-context.ts';

/** What is done with a frame; `refusal`: it is dropped, and this is the answer. */
interface Decision {
  readonly wanted: Wanted;
  readonly refusal?: LibvirtError;
}

const PASS: Decision = { wanted: 'pass' };
const DROP: Decision = { wanted: 'drop' };
const WHOLE: Decision = { wanted: 'whole' };
const refused = (refusal: LibvirtError): Decision => ({ wanted: 'drop', refusal });

/** What is answered here, by program: libvirt's own, our own, and libvirt's QEMU program. */
interface OwnAnswers {
  readonly answers: Answers;
  readonly daemon: Answers;
  readonly qemu: Answers;
}

/** The calls of a connection, by number: those answered here, and those that are looked at before the upstream answers. */
export class ClientCalls {
  readonly #own: OwnAnswers;
  readonly #calls: ReadonlyMap<number, ProxyCall>;

  constructor(own: OwnAnswers, calls: ReadonlyMap<number, ProxyCall>) {
    this.#own = own;
    this.#calls = calls;
  }

  /** Called by the header of a frame. Throws what ends the connection. */
  decide(connection: ProxyContext, header: FrameHeader): Decision {
    const kind = frameKind(header);
    // libvirtd ignores what belongs to no stream of its own.
    if (kind !== 'call') return kind === 'stream' && !connection.open ? DROP : PASS;
    const { open, readOnly, forwards, authentication } = connection;
    const refusal = callRefusal(header, { open, readOnly, forwards, authenticated: authentication.done });
    if (refusal) return refused(refusal);
    const { program, length } = header;
    if (program === PROGRAM.LXC) return PASS;
    const handled = this.#answer(header) ?? this.#wantedCall(connection, header);
    if (handled) return length > handled.max ? refused(undecodable()) : WHOLE;
    return program === PROGRAM.XLSNAP ? refused(unknownProcedure(header)) : PASS;
  }

  /** Answers a frame that was wanted whole, or passes it on. Rejects with what the client is answered. */
  async run(connection: ProxyContext, header: FrameHeader, frame: Buffer): Promise<void> {
    const answer = this.#answer(header);
    if (answer) connection.toClient(await answer.reply(header, frame, connection.readOnly));
    else await this.#calls.get(header.procedure)?.run(connection, header, frame);
  }

  #answer({ program, procedure }: FrameHeader): Answer | undefined {
    const { answers, daemon, qemu } = this.#own;
    if (program === PROGRAM.QEMU) return qemu.get(procedure);
    return (program === PROGRAM.XLSNAP ? daemon : answers).get(procedure);
  }

  #wantedCall(connection: ProxyContext, { program, procedure }: FrameHeader): ProxyCall | undefined {
    const call = program === PROGRAM.REMOTE ? this.#calls.get(procedure) : undefined;
    return call?.isWanted(connection) ? call : undefined;
  }
}
