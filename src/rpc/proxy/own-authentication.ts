/**
 * Our own way into the upstream, on each client's connection to it. libvirtd lets few clients in that have not asked how they are
 * to authenticate (max_anonymous_clients, 20), and none beyond: a client of ours that never says anything must not count there.
 */

import { encodeFrame, type FrameHeader, TYPE } from '../wire/frames.ts';
import { PROCEDURES as P } from '../wire/procedures.ts';

/** libvirt's clients do not come to it. */
const SERIAL = 0xffff_ffff;

/** To be sent first: libvirtd lets root in by it. */
export const OWN_AUTH_LIST = encodeFrame(
  { procedure: P.AUTH_LIST.number, type: TYPE.CALL, serial: SERIAL },
  P.AUTH_LIST.args,
  undefined,
);

/** True for the reply to that, which is not for the client. */
export function isOwnAuthReply({ type, procedure, serial }: FrameHeader): boolean {
  return type === TYPE.REPLY && procedure === P.AUTH_LIST.number && serial === SERIAL;
}
