/** Events as an iteration. */

import { LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { RpcClient } from '../rpc/client/client.ts';
import type { EventMessage } from '../rpc/client/connection.ts';
import type { BlockJobEvent, Domain, DomainEvent, LifecycleEvent } from './api.ts';
import { blockJobType } from './job-stats.ts';

/** So many events may wait to be read. */
const WAITING_MAX = 10_000;

/** virDomainEventType and its details, by their numbers, in virsh's words. */
const EVENTS: readonly (readonly [LifecycleEvent['event'], readonly string[]])[] = [
  ['defined', ['added', 'updated', 'renamed', 'from-snapshot']],
  ['undefined', ['removed', 'renamed']],
  ['started', ['booted', 'migrated', 'restored', 'from-snapshot', 'wakeup', 'recovered']],
  [
    'suspended',
    [
      'paused',
      'migrated',
      'ioerror',
      'watchdog',
      'restored',
      'from-snapshot',
      'api-error',
      'postcopy',
      'postcopy-failed',
    ],
  ],
  ['resumed', ['unpaused', 'migrated', 'from-snapshot', 'postcopy', 'postcopy-failed']],
  ['stopped', ['shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from-snapshot', 'recreated']],
  ['shutdown', ['finished', 'guest', 'host']],
  ['pmsuspended', ['memory', 'disk']],
  ['crashed', ['panicked', 'crashloaded']],
];

/** virConnectDomainEventBlockJobStatus. */
const STATUS: readonly BlockJobEvent['status'][] = ['completed', 'failed', 'canceled', 'ready'];

/** Returns the events from this call on. `domainOf`: the handle of a domain. */
export function eventStream(
  rpc: RpcClient,
  domainOf: (ref: DomainRef) => Domain,
  signal?: AbortSignal,
): AsyncIterableIterator<DomainEvent> {
  const waiting: DomainEvent[] = [];
  let end: { readonly error?: LibvirtError } | undefined;
  let wake = (): void => {};
  const stop = (error?: LibvirtError): void => {
    end ??= error ? { error } : {};
    unlisten();
    unwatch();
    signal?.removeEventListener('abort', onAbort);
    wake();
  };
  const unlisten = rpc.onEvent((message) => {
    if (waiting.push(eventOf(message, domainOf(message.domain))) < WAITING_MAX) wake();
    else stop(new LibvirtError('OVERFLOW', `${WAITING_MAX} events wait to be read`, { domain: 'RPC' }));
  });
  const unwatch = rpc.onEnd(stop);
  const onAbort = (): void => stop();
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) stop();
  const next = async (): Promise<IteratorResult<DomainEvent, undefined>> => {
    for (;;) {
      const value = waiting.shift();
      if (value) return { done: false, value };
      if (end?.error) throw end.error;
      if (end) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const finish = async () => {
    stop();
    waiting.length = 0;
    return { done: true, value: undefined } as const;
  };
  return {
    next,
    return: finish,
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function eventOf(message: EventMessage, domain: Domain): DomainEvent {
  if (message.kind === 'block-job') {
    const { disk, type, status } = message;
    return { kind: 'block-job', domain, disk, type: blockJobType(type), status: STATUS[status] ?? 'unknown' };
  }
  const [event, details] = EVENTS[message.event] ?? ['unknown', []];
  return { kind: 'lifecycle', domain, event, detail: details[message.detail] ?? 'unknown' };
}
