/** What the real libvirtd cuts out of a stream: it answers every call that it sees, and nothing else. */

import { FRAME_MAX, HEADER_BYTES, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES as P } from '../../../src/rpc/wire/procedures.ts';
import { type Frame, RawClient } from '../rpc/raw-client.ts';

/** More zeros would take their time. */
const FILLED_MAX = 64 * 1024;
/** No frame of a stream has it. */
const LAST_SERIAL = 0x7fff_0000;

/**
 * The stream, whose last frame is made whole with zeros, so that something can be said behind it. Undefined if that would take too
 * many. Less than a length word cannot be a frame, and is left out.
 */
export function completed(bytes: Buffer): Buffer | undefined {
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    // libvirtd ends the connection there.
    if (length < HEADER_BYTES || length > FRAME_MAX) return bytes;
    if (at + length > bytes.length) {
      const missing = at + length - bytes.length;
      return missing > FILLED_MAX ? undefined : Buffer.concat([bytes, Buffer.alloc(missing)]);
    }
    at += length;
  }
  return bytes.subarray(0, at);
}

/** `ended`: libvirtd has ended the connection, with the replies that were under way. */
interface Read {
  readonly calls: readonly string[];
  readonly ended: boolean;
}

/**
 * Sends a completed stream on a connection of its own, and a call behind it. Needs a libvirtd that carries out the calls of a client
 * one after the other (max_client_requests = 1): the last call's reply is then the last of all.
 */
export async function readByLibvirtd(socket: string, stream: Buffer): Promise<Read> {
  using client = await RawClient.open(socket, 'test:///default');
  client.socket.write(stream);
  client.send(P.CONNECT_GET_TYPE, undefined, { serial: LAST_SERIAL });
  const isReply = ({ header }: Frame) => header.type === TYPE.REPLY;
  const last = client.next((frame) => isReply(frame) && frame.header.serial === LAST_SERIAL);
  const gone = () => client.socket.destroyed;
  // A connection that is reset is an error of its socket.
  const ended = await Promise.race([last.then(() => false, gone), client.closed().then(gone, gone)]);
  const names = client.frames.filter(isReply).map(({ header: h }) => `${h.serial}: ${h.program}/${h.procedure}`);
  return { calls: names, ended };
}
