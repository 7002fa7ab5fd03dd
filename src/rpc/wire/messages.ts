/** The structs that calls, replies and events share (remote_protocol.x, virnetprotocol.x). */

import { asLibvirtError, type ErrorFields } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import type { SnapshotRef } from '../../snapshots/api.ts';
import { type Codec, int, optional, string, struct, uuid } from './codec.ts';
import { decodePayload, encodeFrame, type FrameHeader, STATUS, TYPE } from './frames.ts';
import { XdrWriter } from './xdr.ts';

/** remote_nonnull_domain. */
export const domain: Codec<DomainRef> = struct<DomainRef>({ name: string, uuid, id: int });

/** remote_nonnull_domain_snapshot. */
export const snapshot: Codec<SnapshotRef> = {
  ...struct<SnapshotRef>({ name: string, domain }),
  write(writer, { name, domain: about }) {
    writer.string(name);
    writer.opaque(bytesOf(about));
  },
};

/** Lists of snapshots name the same domain over and over: its bytes are kept from one to the next. */
let last: { readonly domain: DomainRef; readonly bytes: Buffer } | undefined;

function bytesOf(about: DomainRef): Buffer {
  if (last?.domain !== about) {
    const writer = new XdrWriter();
    domain.write(writer, about);
    last = { domain: about, bytes: writer.bytes() };
  }
  return last.bytes;
}

const LEVEL_ERROR = 2;

const errorStruct = struct({
  code: int,
  domain: int,
  message: optional(string),
  level: int,
  dom: optional(domain),
  str1: optional(string),
  str2: optional(string),
  str3: optional(string),
  int1: int,
  int2: int,
  net: optional(struct({ name: string, uuid })),
});

/** Characters of an error's strings that go out: a text that quotes a 4 MiB name would fit into no string. */
const ERROR_TEXT_MAX = 65_536;
const cut = (text: string | null): string | null => text?.slice(0, ERROR_TEXT_MAX) ?? null;

/** virNetMessageError, the payload of every reply with status ERROR. */
export const remoteError: Codec<ErrorFields> = {
  write(writer, fields) {
    const { code, domain, int1, int2 } = fields;
    const texts = { message: cut(fields.message), str1: cut(fields.str1), str2: cut(fields.str2), str3: null };
    errorStruct.write(writer, { code, domain, ...texts, level: LEVEL_ERROR, dom: null, int1, int2, net: null });
  },
  read(reader) {
    const { code, domain, message, str1, str2, int1, int2 } = errorStruct.read(reader);
    return { code, domain, message: message ?? '', str1, str2, int1, int2 };
  },
};

/** Whom an event is for: a callback by its number; or a client from before 1.2.1, which has one and no number for it. */
export type CallbackID = number | 'legacy';

export interface LifecycleMessage<ID extends CallbackID = CallbackID> {
  readonly callbackID: ID;
  readonly domain: DomainRef;
  readonly event: number;
  readonly detail: number;
}

/** remote_domain_event_lifecycle_msg. */
export const legacyLifecycleMessage = struct<Omit<LifecycleMessage, 'callbackID'>>({ domain, event: int, detail: int });

/** remote_domain_event_callback_lifecycle_msg: one frame per callback that is told. */
export const lifecycleMessage: Codec<LifecycleMessage<number>> = struct<LifecycleMessage<number>>({
  callbackID: int,
  domain,
  event: int,
  detail: int,
});

/** REMOTE_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE, REMOTE_PROC_DOMAIN_EVENT_LIFECYCLE. */
export const LIFECYCLE_EVENT = 318;
const LEGACY_LIFECYCLE_EVENT = 107;

export const isLifecycle = ({ procedure }: FrameHeader): boolean =>
  procedure === LIFECYCLE_EVENT || procedure === LEGACY_LIFECYCLE_EVENT;

/** A lifecycle event of either kind. */
export function readLifecycle({ procedure }: FrameHeader, frame: Buffer): LifecycleMessage {
  if (procedure === LIFECYCLE_EVENT) return decodePayload(lifecycleMessage, frame);
  return { callbackID: 'legacy', ...decodePayload(legacyLifecycleMessage, frame) };
}

/** libvirtd's own events carry serial 1; clients do not look at it. */
const EVENT_SERIAL = 1;

/** The event for one callback. */
export function lifecycleFrame(callbackID: CallbackID, about: DomainRef, { event, detail }: LifecycleEvent): Buffer {
  const header = { type: TYPE.MESSAGE, serial: EVENT_SERIAL };
  const message = { domain: about, event, detail };
  return callbackID === 'legacy'
    ? encodeFrame({ ...header, procedure: LEGACY_LIFECYCLE_EVENT }, legacyLifecycleMessage, message)
    : encodeFrame({ ...header, procedure: LIFECYCLE_EVENT }, lifecycleMessage, { callbackID, ...message });
}

/** A reply to `call` with its result. */
export function replyFrame<T>(call: FrameHeader, result: Codec<T>, value: T): Buffer {
  return encodeFrame({ ...call, type: TYPE.REPLY, status: STATUS.OK }, result, value);
}

/** A reply to `call` that says what went wrong. What is no LibvirtError is a fault of ours: its message, never its stack. */
export function errorFrame(call: FrameHeader, error: unknown): Buffer {
  const { fields } = asLibvirtError(error);
  return encodeFrame({ ...call, type: TYPE.REPLY, status: STATUS.ERROR }, remoteError, fields);
}
