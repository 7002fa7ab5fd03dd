/**
 * On whose behalf libvirtd is asked: CONNECT_SET_IDENTITY, as libvirt's own proxy daemon, virtproxyd, sends it: to libvirtd by us,
 * and to us by a virtproxyd before us.
 */

import type { PeerCredentials, ProcessSubject } from '../../access/caller.ts';
import { encodeFrame, type FrameHeader, TYPE } from '../wire/frames.ts';
import { PROCEDURES as P } from '../wire/procedures.ts';
import type { TypedParam } from '../wire/typed-params.ts';

/**
 * Returns the call that makes libvirtd's access drivers judge this connection's calls as the peer's. No serial of the
 * client's is awaited with this procedure: one that is called for by us may not send such calls.
 */
export function identityCall(peer: PeerCredentials): Buffer {
  const { number: procedure, args } = P.CONNECT_SET_IDENTITY;
  return encodeFrame({ procedure, type: TYPE.CALL, serial: 0 }, args, { params: identityParams(peer), flags: 0 });
}

/** True for the reply to an `identityCall`. */
export const isIdentityReply = ({ type, procedure }: FrameHeader): boolean =>
  type === TYPE.REPLY && procedure === P.CONNECT_SET_IDENTITY.number;

/** VIR_CONNECT_IDENTITY_*, as far as libvirtd's access drivers look at them. */
function identityParams({ pid, uid, gid, startTime = 0n }: PeerCredentials): readonly TypedParam[] {
  return [
    { field: 'unix-user-id', type: 'ullong', value: BigInt(uid) },
    { field: 'unix-group-id', type: 'ullong', value: BigInt(gid) },
    { field: 'process-id', type: 'llong', value: BigInt(pid) },
    { field: 'process-time', type: 'ullong', value: startTime },
  ];
}

/**
 * The process that an identity names, for polkit. Undefined if it names none, as for clients of the network: libvirt's own access
 * driver has no subject for these, either.
 */
export function namedProcess(params: readonly TypedParam[]): ProcessSubject | undefined {
  const [pid, startTime, uid] = ['process-id', 'process-time', 'unix-user-id'].map(
    (name) => params.find(({ field }) => field === name)?.value,
  );
  if (typeof pid !== 'bigint' || typeof startTime !== 'bigint' || typeof uid !== 'bigint') return undefined;
  return { kind: 'unix-process', pid: Number(pid), startTime, uid: Number(uid) };
}
