/** Answers calls: decodes the arguments, refuses or carries out the call, encodes the reply. */

import { LibvirtError } from '../../errors.ts';
import { decodePayload, type FrameHeader, HEADER_BYTES } from '../wire/frames.ts';
import { errorFrame, replyFrame } from '../wire/messages.ts';
import type { Procedure } from '../wire/procedures.ts';
import { LIST_MAX } from '../wire/xdr.ts';

/** The handling of one procedure. */
export interface Answer {
  /** Bytes of the longest call. */
  readonly max: number;
  /** The reply to a whole frame. Never rejects: a failure is an error reply. */
  reply(call: FrameHeader, frame: Buffer, readOnly: boolean): Promise<Buffer>;
}

/** By procedure number. */
export type Answers = ReadonlyMap<number, Answer>;

/** One entry of `Answers`. */
export function answer<A, R>(procedure: Procedure<A, R>, run: (args: A) => R | Promise<R>): [number, Answer] {
  const reply = async (call: FrameHeader, frame: Buffer, readOnly: boolean): Promise<Buffer> => {
    try {
      const args = decodePayload(procedure.args, frame);
      if (readOnly) refuseSecrets(procedure, args);
      return replyFrame(call, procedure.result, await run(args));
    } catch (error) {
      return errorFrame(call, error);
    }
  };
  return [procedure.number, { max: longestCall(procedure), reply }];
}

/** Bytes of the longest frame that is collected for a call: its arguments, and what a lenient decoder may ignore. */
export function longestCall<A, R>({ args }: Procedure<A, R>): number {
  return HEADER_BYTES + args.max + TRAILING_MAX;
}

/** libvirtd ignores bytes after the arguments; so many are collected with them. */
const TRAILING_MAX = 1_024;

/** Throws OPERATION_DENIED if a read-only connection asks for secrets. */
export function refuseSecrets<A>({ secrets }: Procedure<A, unknown>, args: A): void {
  const refusal = secrets?.refusal(args);
  if (secrets && refusal) throw new LibvirtError('OPERATION_DENIED', refusal, { domain: secrets.domain });
}

/** Refuses a size that the caller's array cannot have, in libvirtd's words. `limit` is the constant of the protocol. */
export function checkArraySize(argument: 'maxnames' | 'maxids', size: number, limit: string): void {
  if (size >= 0 && size <= LIST_MAX) return;
  const detail = size < 0 ? `${argument} must be non-negative` : `${argument} > ${limit}`;
  throw new LibvirtError('RPC', detail, { domain: 'RPC' });
}
