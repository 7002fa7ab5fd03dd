/** How a call is handled that is passed on to the upstream: it is decoded here, and what goes on is encoded from that. */

import { longestCall, refuseSecrets } from '../server/answers.ts';
import { decodePayload, encodeFrame, type FrameHeader } from '../wire/frames.ts';
import type { Procedure } from '../wire/procedures.ts';
import type { ProxyContext } from './proxy-context.ts';

/** How the proxy handles one procedure. */
export interface ProxyCall {
  /** Bytes of the longest frame that is collected. */
  readonly max: number;
  run(connection: ProxyContext, call: FrameHeader, frame: Buffer): void | Promise<void>;
  /** Returns false if it would change nothing now: then the call passes unread. */
  isWanted(connection: ProxyContext): boolean;
}

type Run<A> = (connection: ProxyContext, call: FrameHeader, frame: Buffer, args: A) => void | Promise<void>;

/**
 * `run` gets the arguments and a frame made of them again, so that the upstream sees what was seen here. A call that
 * cannot be decoded is refused: never passed on.
 */
export function proxyCall<A, R>(
  procedure: Procedure<A, R>,
  run: Run<A>,
  isWanted: ProxyCall['isWanted'] = () => true,
): [number, ProxyCall] {
  return [
    procedure.number,
    {
      max: longestCall(procedure),
      isWanted,
      run(connection, call, frame) {
        const args = decodePayload(procedure.args, frame);
        if (connection.readOnly) refuseSecrets(procedure, args);
        return run(connection, call, encodeFrame(call, procedure.args, args), args);
      },
    },
  ];
}
