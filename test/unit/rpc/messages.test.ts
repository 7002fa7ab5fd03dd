import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { LIFECYCLE } from '../../../src/model/events.ts';
import type { Codec } from '../../../src/rpc/codec.ts';
import {
  decodeHeader,
  decodePayload,
  encodeFrame,
  HEADER_BYTES,
  PROGRAM,
  STATUS,
  TYPE,
} from '../../../src/rpc/frames.ts';
import {
  errorFrame,
  legacyLifecycleMessage,
  lifecycleFrame,
  lifecycleMessage,
  readLifecycle,
  remoteError,
  replyFrame,
} from '../../../src/rpc/messages.ts';
import { PROCEDURES as P } from '../../../src/rpc/procedures.ts';
import { STRING_MAX } from '../../../src/rpc/xdr.ts';
import { rpcFixture, rpcFixtureNames } from '../../support/rpc-fixtures.ts';

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const test1 = { name: 'test', uuid, id: 1 };
const off = { ...test1, id: -1 };
const missing = new LibvirtError('NO_DOMAIN_SNAPSHOT', "no domain snapshot with matching name 's2'", {
  domain: 'DOMAIN_SNAPSHOT',
});

/** Where the domain ends in a call: only that much of a migration's is read, the rest is kept as it is. */
const AFTER_DOMAIN = HEADER_BYTES + 28;

function migration({ number, args }: typeof P.DOMAIN_MIGRATE_BEGIN3, fixture: string) {
  const frame = rpcFixture(fixture);
  expect(decodeHeader(frame).procedure).toBe(number);
  return [args, { domain: test1, rest: frame.subarray(AFTER_DOMAIN) }];
}

/** What each fixture says, read and written by which codec. */
const MESSAGES: Readonly<Record<string, readonly [codec: Codec<never>, value: unknown]>> = {
  'connect-open': [P.CONNECT_OPEN.args, { name: 'test:///default', flags: 1 }],
  'supports-feature': [P.CONNECT_SUPPORTS_FEATURE.args, { feature: 8 }],
  'list-all-domains': [P.CONNECT_LIST_ALL_DOMAINS.args, { needResults: 1, flags: 0x1003 }],
  'list-all-domains-reply': [
    P.CONNECT_LIST_ALL_DOMAINS.result,
    { domains: [test1, { name: 'idle', uuid, id: -1 }], count: 2 },
  ],
  'snapshot-create': [
    P.DOMAIN_SNAPSHOT_CREATE_XML.args,
    { domain: test1, xml: '<domainsnapshot>\n  <name>s1</name>\n</domainsnapshot>\n', flags: 0 },
  ],
  'snapshot-create-reply': [P.DOMAIN_SNAPSHOT_CREATE_XML.result, { snapshot: { name: 's1', domain: test1 } }],
  'snapshot-list-names': [P.DOMAIN_SNAPSHOT_LIST_NAMES.args, { domain: test1, maxnames: 16, flags: 0 }],
  'snapshot-list-names-reply': [P.DOMAIN_SNAPSHOT_LIST_NAMES.result, { names: ['s1', 'first', 'four'] }],
  'list-all-snapshots-reply': [
    P.DOMAIN_LIST_ALL_SNAPSHOTS.result,
    {
      snapshots: [
        { name: 's1', domain: test1 },
        { name: 'Schnappschuß', domain: test1 },
      ],
      count: 2,
    },
  ],
  'snapshot-xml-reply': [P.DOMAIN_SNAPSHOT_GET_XML_DESC.result, { value: '<domainsnapshot/>\n' }],
  'snapshot-delete': [P.DOMAIN_SNAPSHOT_DELETE.args, { snapshot: { name: 's1', domain: test1 }, flags: 1 }],
  'void-reply': [P.DOMAIN_SNAPSHOT_DELETE.result, undefined],
  'error-reply': [remoteError, missing.fields],
  'event-register': [P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.args, { eventID: 0, domain: test1 }],
  'event-register-all': [P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.args, { eventID: 0, domain: null }],
  'lifecycle-event': [lifecycleMessage, { callbackID: 7, domain: off, event: 5, detail: 6 }],
  'legacy-event-register': [P.CONNECT_DOMAIN_EVENT_REGISTER.args, undefined],
  'legacy-event-register-reply': [P.CONNECT_DOMAIN_EVENT_REGISTER.result, { registered: 0 }],
  'legacy-event-register-any': [P.CONNECT_DOMAIN_EVENT_REGISTER_ANY.args, { eventID: 0 }],
  'legacy-lifecycle-event': [legacyLifecycleMessage, { domain: off, event: 5, detail: 6 }],
  'job-info': [P.DOMAIN_GET_JOB_INFO.args, { domain: test1 }],
  'job-info-reply': [
    P.DOMAIN_GET_JOB_INFO.result,
    {
      type: 2,
      timeElapsed: 1_500n,
      timeRemaining: 0n,
      dataTotal: 10n << 20n,
      dataProcessed: 3n << 20n,
      dataRemaining: 7n << 20n,
      memTotal: 10n << 20n,
      memProcessed: 3n << 20n,
      memRemaining: 7n << 20n,
      fileTotal: 0n,
      fileProcessed: 0n,
      fileRemaining: 0n,
    },
  ],
  'job-stats': [P.DOMAIN_GET_JOB_STATS.args, { domain: test1, flags: 0 }],
  'job-stats-reply': [
    P.DOMAIN_GET_JOB_STATS.result,
    {
      type: 2,
      params: [
        { field: 'operation', type: 'int', value: 6 },
        { field: 'time_elapsed', type: 'ullong', value: 1_500n },
      ],
    },
  ],
  'abort-job': [P.DOMAIN_ABORT_JOB.args, { domain: test1 }],
  'migrate-begin': migration(P.DOMAIN_MIGRATE_BEGIN3, 'migrate-begin'),
  'migrate-perform': migration(P.DOMAIN_MIGRATE_PERFORM3, 'migrate-perform'),
  'migrate-begin-params': migration(P.DOMAIN_MIGRATE_BEGIN3_PARAMS, 'migrate-begin-params'),
  'migrate-perform-params': migration(P.DOMAIN_MIGRATE_PERFORM3_PARAMS, 'migrate-perform-params'),
  'keepalive-ping': [P.CONNECT_CLOSE.args, undefined],
} as never;

describe('the fixture', () => {
  test.each(Object.entries(MESSAGES))('%s is read and written', (name, [codec, value]) => {
    const frame = rpcFixture(name);
    expect(decodePayload(codec, frame)).toEqual(value);
    expect(encodeFrame(decodeHeader(frame), codec, value as never).toString('hex')).toBe(frame.toString('hex'));
  });

  test('is there for each message, and each message for it', () => {
    const framesOnly = ['create-with-files', 'stream-data'];
    expect(Object.keys(MESSAGES).concat(framesOnly).sort()).toEqual([...rpcFixtureNames].sort());
  });
});

test('replies, errors and events are framed as libvirtd frames them', () => {
  const call = decodeHeader(rpcFixture('snapshot-create'));
  const snapshot = { name: 's1', domain: test1 };
  const reply = replyFrame(call, P.DOMAIN_SNAPSHOT_CREATE_XML.result, { snapshot });
  expect(reply).toEqual(rpcFixture('snapshot-create-reply'));
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
  const call = { ...decodeHeader(rpcFixture('create-with-files')), program: PROGRAM.QEMU };
  expect(decodeHeader(errorFrame(call, missing))).toMatchObject({
    program: PROGRAM.QEMU,
    type: TYPE.REPLY,
    status: STATUS.ERROR,
    serial: 15,
  });
});

test('a fault of ours is an internal error without its stack', () => {
  const frame = errorFrame(decodeHeader(rpcFixture('void-reply')), new TypeError('x is not a function'));
  const { code, message } = decodePayload(remoteError, frame);
  expect({ code, message }).toEqual({ code: 1, message: 'internal error: x is not a function' });
  expect(frame.includes('.test.ts')).toBe(false);
});

test('an error that quotes the longest name still fits', () => {
  const error = new LibvirtError('NO_DOMAIN_SNAPSHOT', 'x'.repeat(STRING_MAX));
  const { message } = decodePayload(remoteError, errorFrame(decodeHeader(rpcFixture('void-reply')), error));
  expect(message).toMatch(/^Domain snapshot not found: x{60000}/);
});

test('a message past 16 MiB is refused before it is sent', () => {
  const names = Array.from({ length: 5 }, () => 'x'.repeat(STRING_MAX));
  const header = decodeHeader(rpcFixture('snapshot-list-names-reply'));
  expect(() => encodeFrame(header, P.DOMAIN_SNAPSHOT_LIST_NAMES.result, { names })).toThrow(
    'Unable to encode message payload',
  );
});

test('every procedure has the number that libvirt gives it', () => {
  const file = resolve(import.meta.dirname, '../../../../shared/docs/libvirt-rpc-procedures.json');
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
