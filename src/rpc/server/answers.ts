/** From a call's bytes to its reply's: decode, refuse, do, encode. */

import { LibvirtError } from '../../errors.ts';
import { decodePayload, type FrameHeader, PROGRAM, STATUS, TYPE, VERSION } from '../wire/frames.ts';
import { errorFrame, replyFrame } from '../wire/messages.ts';
import type { Procedure } from '../wire/procedures.ts';
import { LIST_MAX } from '../wire/xdr.ts';

/** The reply to a whole frame. Never rejects: what goes wrong is an error reply. */
export type Answer = (call: FrameHeader, frame: Buffer, readOnly: boolean) => Promise<Buffer>;

/** By procedure number. */
export type Answers = ReadonlyMap<number, Answer>;

/** One entry of `Answers`. */
export function answer<A, R>(procedure: Procedure<A, R>, run: (args: A) => R | Promise<R>): [number, Answer] {
  return [
    procedure.number,
    async (call, frame, readOnly) => {
      try {
        const args = decodePayload(procedure.args, frame);
        const rule = readOnly ? procedure.readOnly : undefined;
        const refusal = rule?.refusal(args);
        if (rule && refusal) throw new LibvirtError('OPERATION_DENIED', refusal, { domain: rule.domain });
        return replyFrame(call, procedure.result, await run(args));
      } catch (error) {
        return errorFrame(call, error);
      }
    },
  ];
}

/** True for what can be answered by procedure number: an ordinary call of the remote program. */
export function isRemoteCall({ program, version, type, status }: FrameHeader): boolean {
  return program === PROGRAM.REMOTE && version === VERSION && type === TYPE.CALL && status === STATUS.OK;
}

/** Refuses what cannot be the size of the caller's array, in libvirtd's words. `limit` is the constant of the protocol. */
export function checkArraySize(argument: 'maxnames' | 'maxids', size: number, limit: string): void {
  if (size >= 0 && size <= LIST_MAX) return;
  const detail = size < 0 ? `${argument} must be non-negative` : `${argument} > ${limit}`;
  throw new LibvirtError('RPC', detail, { domain: 'RPC' });
}

/** virCheckFlags: what is not known is refused, not ignored. */
export function refuseUnknown(flags: number, known: number, call: string): void {
  const unknown = (flags & ~known) >>> 0;
  if (unknown === 0) return;
  throw new LibvirtError('INVALID_ARG', `unsupported flags (0x${unknown.toString(16)}) in function ${call}`, {
    argument: { function: call, name: 'flags' },
  });
}
