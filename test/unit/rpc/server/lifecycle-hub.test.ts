import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { LIFECYCLE, type LifecycleEvent } from '../../../../src/model/events.ts';
import { type EventClient, LifecycleHub } from '../../../../src/rpc/server/lifecycle-hub.ts';
import { decodeHeader } from '../../../../src/rpc/wire/frames.ts';
import { type CallbackID, LIFECYCLE_EVENT, readLifecycle } from '../../../../src/rpc/wire/messages.ts';
import { EVENT_ID } from '../../../../src/rpc/wire/procedures.ts';
import { framesOf } from '../../../support/rpc/frames-of.ts';

const A = { name: 'a', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 };
const B = { name: 'b', uuid: '00000000-0000-0000-0000-000000000000', id: 0 };
/** The grace time of events.ts, and a little. */
const PAST_GRACE_MS = 2_001;

let hub: LifecycleHub;

beforeEach(() => {
  jest.useFakeTimers();
  hub = new LifecycleHub();
});

afterEach(() => {
  jest.useRealTimers();
});

function attach(): { readonly client: EventClient; readonly seen: string[] } {
  const seen: string[] = [];
  const client = hub.attach((frames) => {
    for (const frame of framesOf(frames)) {
      const { callbackID, domain, event, detail } = readLifecycle(decodeHeader(frame), frame);
      seen.push(`${callbackID}: ${domain.name} ${event}/${detail}`);
    }
  });
  return { client, seen };
}

const upstream = (client: EventClient, callbackID: CallbackID, { event, detail }: LifecycleEvent, domain = A) => {
  const seen = client.translate({ callbackID, domain, event, detail });
  return seen && { event: seen.event, detail: seen.detail };
};

test('an event of ours goes once to each registration it is about', () => {
  const first = attach();
  first.client.register(1, undefined);
  first.client.register(2, A.uuid);
  first.client.register(3, B.uuid);
  const second = attach();
  second.client.register(1, A.uuid);
  hub.emit(A, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  hub.emit(B, LIFECYCLE.RESUMED_FROM_SNAPSHOT);
  expect(first.seen).toEqual(['1: a 5/6', '2: a 5/6', '1: b 4/2', '3: b 4/2']);
  expect(second.seen).toEqual(['1: a 5/6']);
});

test('a client gets no event of ours about a domain that it may not see; the others come in their order', async () => {
  const seen: string[] = [];
  const maySee = async ({ name }: { readonly name: string }) => {
    await Promise.resolve();
    return name === 'a';
  };
  const client = hub.attach((frames) => {
    for (const frame of framesOf(frames))
      seen.push(decodeHeader(frame).procedure === LIFECYCLE_EVENT ? 'lifecycle' : 'block job');
  }, maySee);
  client.register(1, undefined);
  client.register(2, undefined, EVENT_ID.BLOCK_JOB);
  const job = { disk: 'xvda', path: '/a.qcow2', kind: 'commit', status: 'completed' } as const;
  for (const ref of [B, A]) {
    hub.emit(ref, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
    hub.emitBlockJob(ref, job);
  }
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
  expect(seen).toEqual(['lifecycle', 'block job']);
});

test('a client from before 1.2.1 is told once, and its upstream events are rewritten and hidden as all are', () => {
  const { client, seen } = attach();
  client.register('legacy', undefined);
  hub.emit(A, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  expect(seen).toEqual(['legacy: a 5/6']);
  hub.expect(A.uuid, LIFECYCLE.STARTED_RESTORED, LIFECYCLE.STARTED_FROM_SNAPSHOT);
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED);
  expect(upstream(client, 'legacy', LIFECYCLE.STOPPED_SAVED)).toBeUndefined();
  expect(upstream(client, 'legacy', LIFECYCLE.STARTED_RESTORED)).toEqual(LIFECYCLE.STARTED_FROM_SNAPSHOT);
  expect(upstream(client, 'legacy', LIFECYCLE.STARTED_RESTORED)).toEqual(LIFECYCLE.STARTED_RESTORED);
  client.deregister('legacy');
  hub.emit(A, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  expect(seen).toHaveLength(1);
});

test('who has deregistered or gone hears nothing', () => {
  const { client, seen } = attach();
  client.register(1, undefined);
  client.register(2, undefined);
  expect(client.deregister(1)).toBe(true);
  expect(client.deregister(1)).toBe(false);
  hub.emit(A, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  client[Symbol.dispose]();
  hub.emit(A, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  expect(seen).toEqual(['2: a 5/6']);
});

test('an event that nobody expects stays what it is', () => {
  const { client } = attach();
  client.register(1, undefined);
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED);
  expect(upstream(client, 1, LIFECYCLE.STOPPED_DESTROYED)).toEqual(LIFECYCLE.STOPPED_DESTROYED);
  expect(upstream(client, 1, LIFECYCLE.STOPPED_SAVED, B)).toEqual(LIFECYCLE.STOPPED_SAVED);
  expect(upstream(client, 99, LIFECYCLE.STOPPED_SAVED)).toEqual(LIFECYCLE.STOPPED_SAVED);
});

test('an expected event is hidden or rewritten once for every callback, of every client', () => {
  const [first, second] = [attach().client, attach().client];
  first.register(1, undefined);
  first.register(2, A.uuid);
  second.register(1, undefined);
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED);
  hub.expect(A.uuid, LIFECYCLE.STARTED_RESTORED, LIFECYCLE.STARTED_FROM_SNAPSHOT);
  for (const [client, id] of [
    [first, 1],
    [first, 2],
    [second, 1],
  ] as const) {
    expect(upstream(client, id, LIFECYCLE.STOPPED_SAVED)).toBeUndefined();
    expect(upstream(client, id, LIFECYCLE.STARTED_RESTORED)).toEqual(LIFECYCLE.STARTED_FROM_SNAPSHOT);
    expect(upstream(client, id, LIFECYCLE.STOPPED_SAVED)).toEqual(LIFECYCLE.STOPPED_SAVED);
    expect(upstream(client, id, LIFECYCLE.STARTED_RESTORED)).toEqual(LIFECYCLE.STARTED_RESTORED);
  }
});

test('two expectations of the same kind take two events, in their order', () => {
  const { client } = attach();
  client.register(1, undefined);
  hub.expect(A.uuid, LIFECYCLE.SUSPENDED_PAUSED, LIFECYCLE.SUSPENDED_FROM_SNAPSHOT);
  hub.expect(A.uuid, LIFECYCLE.SUSPENDED_PAUSED);
  expect(upstream(client, 1, LIFECYCLE.SUSPENDED_PAUSED)).toEqual(LIFECYCLE.SUSPENDED_FROM_SNAPSHOT);
  expect(upstream(client, 1, LIFECYCLE.SUSPENDED_PAUSED)).toBeUndefined();
  expect(upstream(client, 1, LIFECYCLE.SUSPENDED_PAUSED)).toEqual(LIFECYCLE.SUSPENDED_PAUSED);
});

test('a client that registers while the work goes on is spared its events too', () => {
  const { client } = attach();
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED);
  client.register(1, undefined);
  expect(upstream(client, 1, LIFECYCLE.STOPPED_SAVED)).toBeUndefined();
});

test('an event on its way when the work ends is still the expected one', () => {
  const { client } = attach();
  client.register(1, undefined);
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED)[Symbol.dispose]();
  jest.advanceTimersByTime(PAST_GRACE_MS - 2);
  expect(upstream(client, 1, LIFECYCLE.STOPPED_SAVED)).toBeUndefined();
});

test('an event that never came hides no later one, beyond the grace time', () => {
  const { client } = attach();
  client.register(1, undefined);
  const expectation = hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED);
  expectation[Symbol.dispose]();
  jest.advanceTimersByTime(PAST_GRACE_MS);
  // Disposing of it again prolongs nothing.
  expectation[Symbol.dispose]();
  expect(upstream(client, 1, LIFECYCLE.STOPPED_SAVED)).toEqual(LIFECYCLE.STOPPED_SAVED);
});

test('who registers after the work hears everything, even within the grace time', () => {
  const { client } = attach();
  hub.expect(A.uuid, LIFECYCLE.STOPPED_SAVED)[Symbol.dispose]();
  client.register(1, undefined);
  expect(upstream(client, 1, LIFECYCLE.STOPPED_SAVED)).toEqual(LIFECYCLE.STOPPED_SAVED);
});
