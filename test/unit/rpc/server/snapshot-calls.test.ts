import { describe, expect, test } from '@jest/globals';
import { LifecycleHub } from '../../../../src/rpc/server/lifecycle-hub.ts';
import { snapshotAnswers } from '../../../../src/rpc/server/snapshot-calls.ts';
import { type Codec, nothing } from '../../../../src/rpc/wire/codec.ts';
import { decodeHeader, decodePayload, encodeFrame, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { remoteError } from '../../../../src/rpc/wire/messages.ts';
import { PROCEDURES as P, type Procedure } from '../../../../src/rpc/wire/procedures.ts';
import type { SnapshotApi } from '../../../../src/snapshots/api.ts';
import { MemorySnapshots } from '../../../support/fakes/snapshots-in-memory.ts';

const domain = { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
const snapshot = { name: 's1', domain };
const flags = 0;

/** Answers calls as a connection would: bytes in, bytes out. */
function caller(api: SnapshotApi, readOnly = false) {
  const answers = snapshotAnswers(api);
  const reply = async <A, R>(procedure: Procedure<A, R>, args: A): Promise<Buffer> => {
    const frame = encodeFrame({ procedure: procedure.number, type: TYPE.CALL, serial: 7 }, procedure.args, args);
    const answer = answers.get(procedure.number);
    if (!answer) throw new Error(`procedure ${procedure.number} is not answered`);
    const bytes = await answer.reply(decodeHeader(frame), frame, readOnly);
    expect(decodeHeader(bytes)).toMatchObject({ procedure: procedure.number, type: TYPE.REPLY, serial: 7 });
    return bytes;
  };
  const decodeAs = <T>(codec: Codec<T>, bytes: Buffer, status: number): T => {
    expect(decodeHeader(bytes).status).toBe(status);
    return decodePayload(codec, bytes);
  };
  return {
    call: async <A, R>(procedure: Procedure<A, R>, args: A): Promise<R> =>
      decodeAs(procedure.result, await reply(procedure, args), STATUS.OK),
    error: async <A, R>(procedure: Procedure<A, R>, args: A) =>
      decodeAs(remoteError, await reply(procedure, args), STATUS.ERROR),
  };
}

const family = (): MemorySnapshots => new MemorySnapshots(new LifecycleHub());

test('each of the sixteen procedures does its call', async () => {
  const api = family();
  const { call } = caller(api);
  const create = (name: string) => call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml: `<name>${name}</name>`, flags });
  expect(await call(P.DOMAIN_HAS_CURRENT_SNAPSHOT, { domain, flags })).toEqual({ value: 0 });
  expect(await create('s1')).toEqual({ snapshot });
  expect(await create('s2')).toEqual({ snapshot: { name: 's2', domain } });
  const second = { name: 's2', domain };

  expect(await call(P.DOMAIN_SNAPSHOT_NUM, { domain, flags })).toEqual({ value: 2 });
  expect(await call(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain, maxnames: 9, flags })).toEqual({ names: ['s1', 's2'] });
  const all = { snapshots: [snapshot, second], count: 2 };
  expect(await call(P.DOMAIN_LIST_ALL_SNAPSHOTS, { domain, needResults: 1, flags })).toEqual(all);
  expect(await call(P.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, { domain, name: 's1', flags })).toEqual({ snapshot });
  expect(await call(P.DOMAIN_HAS_CURRENT_SNAPSHOT, { domain, flags })).toEqual({ value: 1 });
  expect(await call(P.DOMAIN_SNAPSHOT_CURRENT, { domain, flags })).toEqual({ snapshot: second });

  expect((await call(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot, flags })).value).toContain('<name>s1</name>');
  expect(await call(P.DOMAIN_SNAPSHOT_GET_PARENT, { snapshot: second, flags })).toEqual({ snapshot });
  expect(await call(P.DOMAIN_SNAPSHOT_NUM_CHILDREN, { snapshot, flags })).toEqual({ value: 1 });
  expect(await call(P.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, { snapshot, maxnames: 9, flags })).toEqual({
    names: ['s2'],
  });
  const children = { snapshots: [second], count: 1 };
  expect(await call(P.DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, { snapshot, needResults: 1, flags })).toEqual(children);
  expect(await call(P.DOMAIN_SNAPSHOT_IS_CURRENT, { snapshot, flags })).toEqual({ value: 0 });
  expect(await call(P.DOMAIN_SNAPSHOT_HAS_METADATA, { snapshot, flags })).toEqual({ value: 1 });

  expect(await call(P.DOMAIN_REVERT_TO_SNAPSHOT, { snapshot, flags })).toBeUndefined();
  expect(await call(P.DOMAIN_SNAPSHOT_IS_CURRENT, { snapshot, flags })).toEqual({ value: 1 });
  expect(await call(P.DOMAIN_SNAPSHOT_DELETE, { snapshot: second, flags })).toBeUndefined();
  expect(api.count(domain.uuid)).toBe(1);
  expect(snapshotAnswers(api).size).toBe(16);
});

test('a caller that wants the number only gets no list', async () => {
  const api = family();
  await api.createXML(domain, '<name>s1</name>');
  const counted = { snapshots: [], count: 1 };
  expect(await caller(api).call(P.DOMAIN_LIST_ALL_SNAPSHOTS, { domain, needResults: 0, flags })).toEqual(counted);
});

describe('the caller’s array', () => {
  test('is filled as far as it goes', async () => {
    const api = family();
    for (const name of ['a', 'b', 'c']) await api.createXML(domain, `<name>${name}</name>`);
    const { call } = caller(api);
    expect(await call(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain, maxnames: 2, flags })).toEqual({ names: ['a', 'b'] });
    expect(await call(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain, maxnames: 0, flags })).toEqual({ names: [] });
  });

  test.each([
    [-1, 'maxnames must be non-negative'],
    [16_385, 'maxnames > REMOTE_DOMAIN_SNAPSHOT_LIST_MAX'],
  ])('cannot have %d places', async (maxnames, message) => {
    const { error } = caller(family());
    const refused = { code: 39, domain: 7, message };
    expect(await error(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain, maxnames, flags })).toMatchObject(refused);
    expect(await error(P.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, { snapshot, maxnames, flags })).toMatchObject(refused);
  });
});

describe('a read-only connection', () => {
  test('is refused secrets, in libvirt’s words', async () => {
    const { error } = caller(family(), true);
    expect(await error(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot, flags: 1 })).toMatchObject({
      code: 29,
      domain: 35,
      str1: 'operation forbidden: %s',
      str2: 'virDomainSnapshotGetXMLDesc with secure flag',
    });
  });

  test('reads everything else', async () => {
    const api = family();
    await api.createXML(domain, '<name>s1</name>');
    const { call } = caller(api, true);
    expect((await call(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot, flags })).value).toContain('s1');
    expect(await call(P.DOMAIN_SNAPSHOT_CURRENT, { domain, flags })).toEqual({ snapshot });
  });
});

test('flags reach the API with every bit they came with', async () => {
  const seen: number[] = [];
  const api: SnapshotApi = family();
  api.num = async (_domain, bits) => seen.push(bits);
  await caller(api).call(P.DOMAIN_SNAPSHOT_NUM, { domain, flags: 0xffff_ffff });
  expect(seen).toEqual([0xffff_ffff]);
});

test('arguments that cannot be decoded are an error reply', async () => {
  const { error } = caller(family());
  const { number } = P.DOMAIN_SNAPSHOT_CREATE_XML;
  expect(await error({ number, args: nothing, result: nothing }, undefined)).toMatchObject({
    code: 39,
    domain: 7,
    message: 'Unable to decode message payload',
  });
});
