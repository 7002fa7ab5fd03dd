/**
 * Registrations for events, if there is no upstream libvirtd: clients may register for any event, but get only
 * lifecycle events.
 */

import { LibvirtError } from '../../errors.ts';
import { EVENT_ID, PROCEDURES as P } from '../wire/procedures.ts';
import { type Answers, answer } from './answers.ts';
import type { EventClient } from './lifecycle-hub.ts';

/** The registrations of one connection. */
export function eventAnswers(events: EventClient): Answers {
  let nextCallback = 0;
  /** By event: clients older than libvirt 1.2.1 have one registration for each. */
  const legacy = new Set<number>();

  const registerLegacy = (eventID: number): void => {
    checkEvent(eventID);
    if (legacy.has(eventID)) throw new LibvirtError('INVALID_ARG', 'event callback already tracked');
    legacy.add(eventID);
    if (eventID === EVENT_ID.LIFECYCLE) events.register('legacy', undefined);
  };
  const deregisterLegacy = (eventID: number): void => {
    checkEvent(eventID);
    if (!legacy.delete(eventID)) throw notRegistered(`domain event ${eventID}`);
    if (eventID === EVENT_ID.LIFECYCLE) events.deregister('legacy');
  };
  /** libvirtd's error, whatever the member is called. */
  const legacyReply = { registered: 0 };

  return new Map([
    answer(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, ({ eventID, domain }) => {
      checkEvent(eventID);
      events.checkRoom();
      const callbackID = nextCallback++;
      events.register(callbackID, domain?.uuid, eventID);
      return { callbackID };
    }),
    answer(P.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, ({ callbackID }) => {
      if (!events.deregister(callbackID)) throw notRegistered(`domain event callback ${callbackID}`);
    }),
    answer(P.CONNECT_DOMAIN_EVENT_REGISTER, () => {
      registerLegacy(EVENT_ID.LIFECYCLE);
      return legacyReply;
    }),
    answer(P.CONNECT_DOMAIN_EVENT_DEREGISTER, () => {
      deregisterLegacy(EVENT_ID.LIFECYCLE);
      return legacyReply;
    }),
    answer(P.CONNECT_DOMAIN_EVENT_REGISTER_ANY, ({ eventID }) => registerLegacy(eventID)),
    answer(P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, ({ eventID }) => deregisterLegacy(eventID)),
  ]);
}

function checkEvent(eventID: number): void {
  if (eventID >= 0 && eventID < EVENT_ID.LAST) return;
  throw new LibvirtError('INTERNAL_ERROR', `unsupported event ID ${eventID}`, { domain: 'RPC' });
}

function notRegistered(what: string): LibvirtError {
  return new LibvirtError('INTERNAL_ERROR', `${what} not registered`, { domain: 'RPC' });
}
