import { beforeEach, describe, expect, test } from '@jest/globals';
import { LIFECYCLE } from '../../../../src/model/events.ts';
import type { Answers } from '../../../../src/rpc/server/answers.ts';
import { eventAnswers } from '../../../../src/rpc/server/event-calls.ts';
import { LifecycleHub } from '../../../../src/rpc/server/lifecycle-hub.ts';
import { nothing } from '../../../../src/rpc/wire/codec.ts';
import { decodeHeader, decodePayload, encodeFrame, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { readLifecycle, remoteError } from '../../../../src/rpc/wire/messages.ts';
import { PROCEDURES as P, type Procedure } from '../../../../src/rpc/wire/procedures.ts';

const domain = { name: 'a', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
const REBOOT = 1;

import { framesOf } from '../../../support/rpc/frames-of.ts';

let hub: LifecycleHub;
let answers: Answers;
let seen: (number | 'legacy')[];

beforeEach(() => {
  hub = new LifecycleHub();
  seen = [];
  const hear = (frame: Buffer): unknown => seen.push(readLifecycle(decodeHeader(frame), frame).callbackID);
  answers = eventAnswers(hub.attach((frames) => framesOf(frames).forEach(hear)));
});

async function reply<A>(procedure: Procedure<A, unknown>, args: A): Promise<Buffer> {
  const frame = encodeFrame({ procedure: procedure.number, type: TYPE.CALL, serial: 3 }, procedure.args, args);
  return (await answers.get(procedure.number)?.reply(decodeHeader(frame), frame, true)) ?? Buffer.alloc(0);
}

async function call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
  const bytes = await reply({ ...procedure, result: nothing }, args);
  expect(decodeHeader(bytes).status).toBe(STATUS.OK);
  return decodePayload(procedure.result, bytes);
}

async function refusal<A, R>(procedure: Procedure<A, R>, args: A): Promise<string> {
  const bytes = await reply({ ...procedure, result: nothing }, args);
  expect(decodeHeader(bytes).status).toBe(STATUS.ERROR);
  return decodePayload(remoteError, bytes).message;
}

const told = (): readonly (number | 'legacy')[] => {
  hub.emit(domain, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  return seen.splice(0);
};

test('a client has 1,024 registrations at most, of whatever events', async () => {
  const { CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY: on, CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY: off } = P;
  for (let n = 0; n < 1_024; n += 1) await call(on, { eventID: n % 2, domain: null });
  expect(await refusal(on, { eventID: 1, domain: null })).toBe('more than 1024 events of one client');
  expect(told().length).toBe(512);
  await call(off, { callbackID: 0 });
  await call(on, { eventID: 0, domain: null });
});

describe('callbacks with a number', () => {
  const { CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY: on, CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY: off } = P;

  test('hear of lifecycle, each until it ends', async () => {
    expect(await call(on, { eventID: 0, domain: null })).toEqual({ callbackID: 0 });
    expect(await call(on, { eventID: REBOOT, domain: null })).toEqual({ callbackID: 1 });
    expect(await call(on, { eventID: 0, domain })).toEqual({ callbackID: 2 });
    expect(told()).toEqual([0, 2]);
    await call(off, { callbackID: 0 });
    expect(told()).toEqual([2]);
    expect(await refusal(off, { callbackID: 0 })).toBe('internal error: domain event callback 0 not registered');
  });

  test.each([-1, 27])('event %i is none', async (eventID) => {
    expect(await refusal(on, { eventID, domain: null })).toBe(`internal error: unsupported event ID ${eventID}`);
  });
});

describe('a client from before 1.2.1', () => {
  test('registers once, and is told by the message that it knows', async () => {
    expect(await call(P.CONNECT_DOMAIN_EVENT_REGISTER, undefined)).toEqual({ registered: 0 });
    expect(told()).toEqual(['legacy']);
    const again = 'invalid argument: event callback already tracked';
    expect(await refusal(P.CONNECT_DOMAIN_EVENT_REGISTER, undefined)).toBe(again);
    expect(await refusal(P.CONNECT_DOMAIN_EVENT_REGISTER_ANY, { eventID: 0 })).toBe(again);
    await call(P.CONNECT_DOMAIN_EVENT_DEREGISTER, undefined);
    expect(told()).toEqual([]);
    expect(await refusal(P.CONNECT_DOMAIN_EVENT_DEREGISTER, undefined)).toBe(
      'internal error: domain event 0 not registered',
    );
  });

  test('names the event where there is more than one', async () => {
    await call(P.CONNECT_DOMAIN_EVENT_REGISTER_ANY, { eventID: REBOOT });
    expect(told()).toEqual([]);
    await call(P.CONNECT_DOMAIN_EVENT_REGISTER_ANY, { eventID: 0 });
    expect(told()).toEqual(['legacy']);
    await call(P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, { eventID: REBOOT });
    expect(told()).toEqual(['legacy']);
    await call(P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, { eventID: 0 });
    expect(told()).toEqual([]);
    expect(await refusal(P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, { eventID: 99 })).toBe(
      'internal error: unsupported event ID 99',
    );
  });
});
