import { beforeEach, expect, jest, test } from '@jest/globals';
import { RevertedDomains } from '../../../../src/hosts/libvirt/reverted-domains.ts';
import type { DomainRef } from '../../../../src/model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../../../src/model/events.ts';
import { GUEST } from '../../../support/hosts/recorded-upstream.ts';

const OTHER = '11111111-2222-3333-4444-888888888888';

let tell: (domain: DomainRef, event: LifecycleEvent) => void;
let reverted: RevertedDomains;

beforeEach(() => {
  jest.useFakeTimers();
  reverted = new RevertedDomains({
    onLifecycle: (listener) => {
      tell = listener;
    },
  });
});

test.each([
  ['running', 4],
  ['paused', 7],
  ['shutoff', 7],
] as const)('a domain that a revert left %s has libvirt’s reason %d, in that state only', (state, reason) => {
  reverted.add(GUEST.uuid, state);
  expect(reverted.reason(GUEST.uuid, state)).toBe(reason);
  expect(reverted.reason(GUEST.uuid, 'crashed')).toBeUndefined();
  expect(reverted.reason(OTHER, state)).toBeUndefined();
});

test('the revert’s own events leave it, a later one ends it, and so nothing is left to look for', () => {
  expect(reverted.any()).toBe(false);
  reverted.add(GUEST.uuid, 'running');
  tell(GUEST, LIFECYCLE.STARTED_RESTORED);
  expect(reverted.any()).toBe(true);
  jest.advanceTimersByTime(5_000);
  tell({ ...GUEST, uuid: OTHER }, LIFECYCLE.SUSPENDED_PAUSED);
  expect(reverted.reason(GUEST.uuid, 'running')).toBe(4);
  tell(GUEST, LIFECYCLE.SUSPENDED_PAUSED);
  expect(reverted.reason(GUEST.uuid, 'running')).toBeUndefined();
  expect(reverted.any()).toBe(false);
});
