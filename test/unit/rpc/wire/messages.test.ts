import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { LIFECYCLE } from '../../../../src/model/events.ts';
import { decodeHeader, decodePayload, encodeFrame, PROGRAM, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import {
  errorFrame,
  lifecycleFrame,
  readLifecycle,
  remoteError,
  replyFrame,
} from '../../../../src/rpc/wire/messages.ts';
import { PROCEDURES as P } from '../../../../src/rpc/wire/procedures.ts';
import { STRING_MAX } from '../../../../src/rpc/wire/xdr.ts';
import { rpcFixture } from '../../../support/rpc/fixtures.ts';

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const test1 = { name: 'test', uuid, id: 1 };
const off = { ...test1, id: -1 };
const missing = new LibvirtError('NO_DOMAIN_SNAPSHOT', "no domain snapshot with matching name 's2'", {
  domain: 'DOMAIN_SNAPSHOT',
});

test('replies, errors and events are framed as libvirtd frames them', () => {
  const call = decodeHeader(rpcFixture('domain-snapshot-create-xml'));
  const snapshot = { name: 's1', domain: test1 };
  const reply = replyFrame(call, P.DOMAIN_SNAPSHOT_CREATE_XML.result, { snapshot });
  expect(reply).toEqual(rpcFixture('domain-snapshot-create-xml-reply'));
  const lookup = { ...call, procedure: 189, serial: 11 };
  expect(errorFrame(lookup, missing)).toEqual(rpcFixture('error-reply'));
  for (const [fixture, callbackID] of [
    ['lifecycle-event', 7],
    ['legacy-lifecycle-event', 'legacy'],
  ] as const) {
    const event = lifecycleFrame(callbackID, off, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
    expect(event).toEqual(rpcFixture(fixture));
    expect(readLifecycle(decodeHeader(event), event)).toEqual({ callbackID, domain: off, event: 5, detail: 6 });
  }
});

test('the reply to a call of another program is of that program', () => {
  const call = { ...decodeHeader(rpcFixture('reply-with-files')), program: PROGRAM.QEMU };
  expect(decodeHeader(errorFrame(call, missing))).toMatchObject({
    program: PROGRAM.QEMU,
    type: TYPE.REPLY,
    status: STATUS.ERROR,
    serial: 15,
  });
});

test('a fault of ours is an internal error without its stack', () => {
  const frame = errorFrame(
    decodeHeader(rpcFixture('domain-snapshot-delete-reply')),
    new TypeError('x is not a function'),
  );
  const { code, message } = decodePayload(remoteError, frame);
  expect({ code, message }).toEqual({ code: 1, message: 'internal error: x is not a function' });
  expect(frame.includes('.test.ts')).toBe(false);
});

test('an error that quotes the longest name still fits', () => {
  const error = new LibvirtError('NO_DOMAIN_SNAPSHOT', 'x'.repeat(STRING_MAX));
  const { message } = decodePayload(
    remoteError,
    errorFrame(decodeHeader(rpcFixture('domain-snapshot-delete-reply')), error),
  );
  expect(message).toMatch(/^Domain snapshot not found: x{16000}/);
});

test('a message past 16 MiB is refused before it is sent', () => {
  const names = Array.from({ length: 5 }, () => 'x'.repeat(STRING_MAX));
  const header = decodeHeader(rpcFixture('domain-snapshot-list-names-reply'));
  expect(() => encodeFrame(header, P.DOMAIN_SNAPSHOT_LIST_NAMES.result, { names })).toThrow(
    'Unable to encode message payload',
  );
});

test('every procedure has the number that libvirt gives it', () => {
  const file = resolve(import.meta.dirname, '../../../../../shared/docs/libvirt-rpc-procedures.json');
  const { procs } = JSON.parse(readFileSync(file, 'utf8')) as { procs: Record<string, number> };
  const ours = Object.fromEntries(Object.entries(P).map(([name, { number }]) => [name, number]));
  expect(procs).toMatchObject(ours);
  expect(new Set(Object.values(ours)).size).toBe(Object.keys(ours).length);
});

test('each snapshot of a list is sent with its own domain', () => {
  const about = (name: string) => ({ name, uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 });
  const [one, two] = [about('one'), about('two')];
  const snapshots = [one, one, two, one].map((domain, n) => ({ name: `s${n}`, domain }));
  const { result } = P.DOMAIN_LIST_ALL_SNAPSHOTS;
  const frame = encodeFrame({ procedure: 274, type: TYPE.REPLY, serial: 1 }, result, { snapshots, count: 4 });
  expect(decodePayload(result, frame)).toEqual({ snapshots, count: 4 });
});
