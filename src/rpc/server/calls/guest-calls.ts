/** The calls that a guest's agent answers. */

import type { GuestApi } from '../../../snapshots/api.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import { type Answers, answer } from '../answers.ts';

/** Answers for the guests of `api`. */
export function guestAnswers(api: GuestApi): Answers {
  return new Map([
    answer(P.DOMAIN_FSFREEZE, async ({ domain, mountpoints, flags }) => ({
      value: await api.freeze(domain, mountpoints, flags),
    })),
    answer(P.DOMAIN_FSTHAW, async ({ domain, mountpoints, flags }) => ({
      value: await api.thaw(domain, mountpoints, flags),
    })),
  ]);
}
