/** Frames of libvirt's RPC (src/rpc/virnetprotocol.x): a length word, six header words, a payload. */

import { LibvirtError } from '../../errors.ts';
import { type Codec, decode } from './codec.ts';
import { XdrWriter } from './xdr.ts';

/** `prog` of the header. libvirt's own; and xlsnapd's, "xlsn" as the keepalive's is "keep": libvirtd knows no such program. */
export const PROGRAM = {
  REMOTE: 0x20008086,
  QEMU: 0x20008087,
  LXC: 0x00068000,
  KEEPALIVE: 0x6b656570,
  XLSNAP: 0x786c736e,
} as const;

/** `vers` of the header: the only one there is, of every program. */
export const VERSION = 1;

/** `type` of the header. */
export const TYPE = {
  CALL: 0,
  REPLY: 1,
  MESSAGE: 2,
  STREAM: 3,
  CALL_WITH_FDS: 4,
  REPLY_WITH_FDS: 5,
  STREAM_HOLE: 6,
} as const;

/** `status` of the header. */
export const STATUS = { OK: 0, ERROR: 1, CONTINUE: 2 } as const;

/** `proc` of the keepalive program. */
export const KEEPALIVE = { PING: 1, PONG: 2 } as const;

/** The length word and the header. */
export const HEADER_BYTES = 28;

/** VIR_NET_MESSAGE_MAX and the length word it does not count. */
export const FRAME_MAX = 16_777_216 + 4;

/** VIR_NET_MESSAGE_NUM_FDS_MAX. */
export const FDS_MAX = 32;

/** The header of a frame. */
export interface FrameHeader {
  /** Of the whole frame, these four bytes included. */
  readonly length: number;
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

/** Reads the seven words in front of a payload. Checks nothing. */
export function decodeHeader(bytes: Buffer): FrameHeader {
  return {
    length: bytes.readUInt32BE(0),
    program: bytes.readUInt32BE(4),
    version: bytes.readUInt32BE(8),
    procedure: bytes.readInt32BE(12),
    type: bytes.readUInt32BE(16),
    serial: bytes.readUInt32BE(20),
    status: bytes.readUInt32BE(24),
  };
}

/** A whole frame. Program and version are the remote ones unless the header says otherwise. */
export function encodeFrame<T>(
  header: Pick<FrameHeader, 'procedure' | 'type' | 'serial'> & Partial<FrameHeader>,
  payload: Codec<T>,
  value: T,
): Buffer {
  const writer = new XdrWriter();
  writer.uint(0);
  writer.uint(header.program ?? PROGRAM.REMOTE);
  writer.uint(header.version ?? VERSION);
  writer.int(header.procedure);
  writer.uint(header.type);
  writer.uint(header.serial);
  writer.uint(header.status ?? STATUS.OK);
  payload.write(writer, value);
  const frame = writer.bytes();
  if (frame.length > FRAME_MAX) {
    throw new LibvirtError('RPC', 'Unable to encode message payload', { domain: 'RPC' });
  }
  frame.writeUInt32BE(frame.length, 0);
  return frame;
}

/** The payload of a whole frame. */
export function decodePayload<T>(payload: Codec<T>, frame: Buffer): T {
  return decode(payload, frame, HEADER_BYTES);
}
