/** The structs that calls, replies and events share (remote_protocol.x, virnetprotocol.x). */

import { asLibvirtError, type ErrorFields } from '../../errors.ts';
import { BLOCK_JOB_STATUS, BLOCK_JOB_TYPES, type BlockJobEvent } from '../../model/blocks/block-job.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LifecycleEvent } from '../../model/events.ts';
import { printableLines } from '../../model/messages/printable.ts';
import type { SnapshotRef } from '../../snapshots/api.ts';
import { type Codec, type Decoded, int, list, name, optional, string, struct, uuid } from './codec.ts';
import { decodePayload, encodeFrame, type FrameHeader, HEADER_BYTES, STATUS, TYPE } from './frames.ts';
import { LIST_MAX, XdrWriter } from './xdr.ts';

/** remote_nonnull_domain. */
export const domain: Codec<DomainRef> = struct<DomainRef>({ name, uuid, id: int });

/** remote_nonnull_domain_snapshot. */
export const snapshot: Codec<SnapshotRef> = struct<SnapshotRef>({ name, domain });

const snapshotList = list(snapshot);

/** remote_nonnull_domain_snapshot<>. The snapshots of a list are mostly of one domain, which is encoded once. */
export const snapshots: Codec<readonly SnapshotRef[]> = {
  ...snapshotList,
  write(writer, refs) {
    writer.count(refs.length, LIST_MAX);
    let last: { readonly domain: DomainRef; readonly bytes: Buffer } | undefined;
    for (const ref of refs) {
      if (last?.domain !== ref.domain) last = { domain: ref.domain, bytes: encode(domain, ref.domain) };
      name.write(writer, ref.name);
      writer.opaque(last.bytes);
    }
  },
};

function encode<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.write(writer, value);
  return writer.bytes();
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

/**
 * The longest text of an error that is sent, in characters: one that quotes a 4 MiB document would fit into no string, and making a
 * long name printable takes time. (libvirt's is 1,024 bytes, VIR_ERROR_MAX_LENGTH; our texts say the way out, too.)
 */
const ERROR_TEXT_MAX = 16_384;

/** Clients print errors as they come. Parts of them are names, and words of guests' agents and device models. */
const sent = (text: string | null): string | null => text && printableLines(text.slice(0, ERROR_TEXT_MAX));

/** virNetMessageError, the payload of every reply with status ERROR. */
export const remoteError: Codec<ErrorFields> = {
  max: errorStruct.max,
  write(writer, fields) {
    const { code, domain, int1, int2 } = fields;
    const texts = { message: sent(fields.message), str1: sent(fields.str1), str2: sent(fields.str2), str3: null };
    errorStruct.write(writer, { code, domain, ...texts, level: LEVEL_ERROR, dom: null, int1, int2, net: null });
  },
  read(reader) {
    const { code, domain, message, str1, str2, int1, int2 } = errorStruct.read(reader);
    return { code, domain, message: message ?? '', str1, str2, int1, int2 };
  },
};

/** The registration that an event is for: a callback's number, or the only one of a client older than libvirt 1.2.1. */
export type CallbackID = number | 'legacy';

/** A lifecycle event on the wire. */
export interface LifecycleMessage<ID extends CallbackID = CallbackID> {
  readonly callbackID: ID;
  readonly domain: DomainRef;
  readonly event: number;
  readonly detail: number;
}

/** remote_domain_event_lifecycle_msg. */
export const legacyLifecycleMessage = struct<Omit<LifecycleMessage, 'callbackID'>>({ domain, event: int, detail: int });

/** remote_domain_event_callback_lifecycle_msg: one frame per callback. */
export const lifecycleMessage: Codec<LifecycleMessage<number>> = struct<LifecycleMessage<number>>({
  callbackID: int,
  domain,
  event: int,
  detail: int,
});

/** REMOTE_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE, REMOTE_PROC_DOMAIN_EVENT_LIFECYCLE. */
export const LIFECYCLE_EVENT = 318;
const LEGACY_LIFECYCLE_EVENT = 107;

/** True for the message of a lifecycle event. */
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

/** The event for any callbacks, in one buffer: it is encoded once, and a callback's number is the first word of it. */
export function lifecycleFrames(about: DomainRef, event: LifecycleEvent): (ids: readonly CallbackID[]) => Buffer {
  const numbered = lifecycleFrame(0, about, event);
  return (ids) =>
    Buffer.concat(
      ids.map((id) => {
        if (id === 'legacy') return lifecycleFrame(id, about, event);
        const frame = Buffer.from(numbered);
        frame.writeInt32BE(id, HEADER_BYTES);
        return frame;
      }),
    );
}

/** REMOTE_PROC_DOMAIN_EVENT_CALLBACK_BLOCK_JOB (by the image's path), REMOTE_PROC_DOMAIN_EVENT_BLOCK_JOB_2 (by the target). */
const BLOCK_JOB_EVENTS = { path: 326, disk: 339 } as const;
/** The one that names the target. */
export const BLOCK_JOB_EVENT = BLOCK_JOB_EVENTS.disk;

/** remote_domain_event_callback_block_job_msg, remote_domain_event_block_job_2_msg: the same members. */
export const blockJobMessage = struct({ callbackID: int, domain, disk: string, type: int, status: int });

/** An event of a block job on the wire: libvirt's numbers. */
export type BlockJobMessage = Decoded<typeof blockJobMessage>;

/** The event of a block job for one callback. */
export function blockJobFrame(
  callbackID: number,
  about: DomainRef,
  event: BlockJobEvent,
  by: keyof typeof BLOCK_JOB_EVENTS,
): Buffer {
  const header = { type: TYPE.MESSAGE, serial: EVENT_SERIAL, procedure: BLOCK_JOB_EVENTS[by] };
  const [type, status] = [BLOCK_JOB_TYPES[event.kind], BLOCK_JOB_STATUS[event.status]];
  return encodeFrame(header, blockJobMessage, { callbackID, domain: about, disk: event[by], type, status });
}

/** A reply to `call` with its result. */
export function replyFrame<T>(call: FrameHeader, result: Codec<T>, value: T): Buffer {
  return encodeFrame({ ...call, type: TYPE.REPLY, status: STATUS.OK }, result, value);
}

/**
 * An error reply to `call`. An error that is not a LibvirtError is a bug of ours: its message is sent, never its stack.
 */
export function errorFrame(call: FrameHeader, error: unknown): Buffer {
  const { fields } = asLibvirtError(error);
  return encodeFrame({ ...call, type: TYPE.REPLY, status: STATUS.ERROR }, remoteError, fields);
}
