/** Calls that are passed on to the upstream, but are checked or changed before, as are their replies. */

import { DOMAIN_STATES } from '../../model/domain.ts';
import { XML } from '../../model/flags.ts';
import { announceSnapshots } from '../server/capabilities.ts';
import { passesSnapshotFilter, SNAPSHOT_BITS } from '../server/domain-filter.ts';
import { abortJob, jobInfo, knownStats } from '../server/job-calls.ts';
import type { EventClient } from '../server/lifecycle-hub.ts';
import { decodePayload, encodeFrame } from '../wire/frames.ts';
import { replyFrame } from '../wire/messages.ts';
import { CONNECT, EVENT_ID, FEATURE, PROCEDURES as P, type Procedure } from '../wire/procedures.ts';
import {
  deviceCall,
  jobCall,
  migrateCall,
  powerCall,
  refuseParameters,
  saveCall,
  undefineCall,
} from './domain-calls.ts';
import { namedProcess } from './identity.ts';
import { type ProxyCall, proxyCall } from './proxy-call.ts';
import type { ProxyOptions } from './proxy-context.ts';

/** By procedure number. */
export function proxyCalls({
  snapshots,
  guests,
  saves,
  overlaid,
  reverted,
  upstreamUri,
}: Pick<ProxyOptions, 'snapshots' | 'guests' | 'saves' | 'overlaid' | 'reverted' | 'upstreamUri'>) {
  const here = { overlaid, saves };
  return new Map([
    // The upstream is asked, too: it lets us in by the same call.
    proxyCall(
      P.AUTH_LIST,
      (connection, call, frame) => {
        const { type } = connection.authentication;
        connection.toUpstream(call, frame, (reply) => replyFrame(reply, P.AUTH_LIST.result, { types: [type] }));
      },
      ({ authentication }) => !authentication.done,
    ),
    proxyCall(
      P.AUTH_POLKIT,
      async (connection, call) => {
        await connection.authentication.polkit();
        connection.toClient(replyFrame(call, P.AUTH_POLKIT.result, { complete: 1 }));
      },
      ({ authentication }) => !authentication.done,
    ),

    proxyCall(P.CONNECT_OPEN, (connection, call, _frame, { name, flags }) => {
      const readOnly = connection.readOnly || (flags & CONNECT.RO) !== 0;
      const asked = name === 'qemu:///system' ? (connection.qemuSystem ?? name) : name;
      const args = { name: upstreamUri ?? asked, flags: readOnly ? (flags | CONNECT.RO) >>> 0 : flags };
      // A second one fails, and libvirtd then closes the first.
      connection.open = false;
      connection.toUpstream(call, encodeFrame(call, P.CONNECT_OPEN.args, args), async (_reply, bytes) => {
        await connection.forwardIdentity();
        await connection.judge?.connect('getattr');
        connection.open = true;
        connection.readOnly = readOnly;
        return bytes;
      });
    }),

    proxyCall(P.CONNECT_SET_IDENTITY, (connection, call, frame, { params }) => {
      connection.actFor(namedProcess(params));
      connection.toUpstream(call, frame);
    }),

    proxyCall(P.CONNECT_SUPPORTS_FEATURE, (connection, call, frame, { feature }) => {
      if (feature !== FEATURE.FD_PASSING) connection.toUpstream(call, frame);
      else connection.toClient(replyFrame(call, P.CONNECT_SUPPORTS_FEATURE.result, { supported: 0 }));
    }),

    proxyCall(P.CONNECT_GET_CAPABILITIES, (connection, call, frame) => {
      const { result } = P.CONNECT_GET_CAPABILITIES;
      connection.toUpstream(call, frame, (reply, bytes) => {
        const { value } = decodePayload(result, bytes);
        return replyFrame(reply, result, { value: announceSnapshots(value) });
      });
    }),

    proxyCall(P.CONNECT_LIST_ALL_DOMAINS, (connection, call, frame, { needResults, flags }) => {
      const bits = flags & (SNAPSHOT_BITS.HAS | SNAPSHOT_BITS.NO);
      if (bits === 0) {
        connection.toUpstream(call, frame);
        return;
      }
      const { args, result } = P.CONNECT_LIST_ALL_DOMAINS;
      const unfiltered = encodeFrame(call, args, { needResults: 1, flags: (flags & ~bits) >>> 0 });
      connection.toUpstream(call, unfiltered, (reply, bytes) => {
        const { domains } = decodePayload(result, bytes);
        const passed = domains.filter(({ uuid }) => passesSnapshotFilter(bits, snapshots.count(uuid) > 0));
        return replyFrame(reply, result, { domains: needResults === 0 ? [] : passed, count: passed.length });
      });
    }),

    proxyCall(
      P.DOMAIN_GET_XML_DESC,
      (connection, call, frame, { domain, flags }) => {
        if (!overlaid.has(domain.uuid) || flags & XML.INACTIVE) {
          connection.toUpstream(call, frame);
          return;
        }
        const { result } = P.DOMAIN_GET_XML_DESC;
        connection.toUpstream(call, frame, (reply, bytes) =>
          replyFrame(reply, result, { value: overlaid.definition(decodePayload(result, bytes).value) }),
        );
      },
      ({ readOnly }) => readOnly || overlaid.any(),
    ),
    secretsCall(P.DOMAIN_MANAGED_SAVE_GET_XML_DESC),
    secretsCall(P.DOMAIN_CHECKPOINT_GET_XML_DESC),

    proxyCall(
      P.DOMAIN_GET_STATE,
      (connection, call, frame, { domain }) => {
        const { result } = P.DOMAIN_GET_STATE;
        connection.toUpstream(call, frame, (reply, bytes) => {
          const { state } = decodePayload(result, bytes);
          const reason = reverted.reason(domain.uuid, DOMAIN_STATES[state]);
          return reason === undefined ? bytes : replyFrame(reply, result, { state, reason });
        });
      },
      () => reverted.any(),
    ),

    saveCall(here, P.DOMAIN_SAVE, (api, { domain, to }) => api.save(domain, { to, dxml: null, flags: 0 })),
    saveCall(here, P.DOMAIN_SAVE_FLAGS, (api, { domain, ...request }) => api.save(domain, request)),
    saveCall(here, P.DOMAIN_SAVE_PARAMS, (_api, { domain }) => refuseParameters(domain)),
    saveCall(here, P.DOMAIN_MANAGED_SAVE, (api, { domain, flags }) => api.managedSave(domain, flags)),

    deviceCall(overlaid, P.DOMAIN_ATTACH_DEVICE),
    deviceCall(overlaid, P.DOMAIN_ATTACH_DEVICE_FLAGS),
    deviceCall(overlaid, P.DOMAIN_DETACH_DEVICE),
    deviceCall(overlaid, P.DOMAIN_DETACH_DEVICE_FLAGS),
    deviceCall(overlaid, P.DOMAIN_DETACH_DEVICE_ALIAS),
    deviceCall(overlaid, P.DOMAIN_UPDATE_DEVICE_FLAGS),

    undefineCall(snapshots, overlaid, P.DOMAIN_UNDEFINE, () => 0),
    undefineCall(snapshots, overlaid, P.DOMAIN_UNDEFINE_FLAGS, ({ flags }) => flags),

    migrateCall(snapshots, overlaid, P.DOMAIN_MIGRATE_PERFORM),
    migrateCall(snapshots, overlaid, P.DOMAIN_MIGRATE_BEGIN3),
    migrateCall(snapshots, overlaid, P.DOMAIN_MIGRATE_PERFORM3),
    migrateCall(snapshots, overlaid, P.DOMAIN_MIGRATE_BEGIN3_PARAMS),
    migrateCall(snapshots, overlaid, P.DOMAIN_MIGRATE_PERFORM3_PARAMS),

    powerCall(guests, P.DOMAIN_SHUTDOWN_FLAGS, 'powerdown'),
    powerCall(guests, P.DOMAIN_REBOOT, 'reboot'),

    jobCall(snapshots, P.DOMAIN_GET_JOB_INFO, 'read', jobInfo),
    proxyCall(P.DOMAIN_GET_JOB_STATS, async (connection, call, frame, { domain, flags }) => {
      await connection.judge?.domain(domain, 'read');
      const known = knownStats(snapshots, domain, flags);
      if (known) connection.toClient(replyFrame(call, P.DOMAIN_GET_JOB_STATS.result, known));
      else connection.toUpstream(call, frame);
    }),
    jobCall(snapshots, P.DOMAIN_ABORT_JOB, 'write', (job) => abortJob(job)),
    jobCall(snapshots, P.DOMAIN_ABORT_JOB_FLAGS, 'write', (job, { flags }) => abortJob(job, flags)),

    proxyCall(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, (connection, call, frame, { eventID, domain }) => {
      connection.events.checkRoom();
      connection.toUpstream(call, frame, (_reply, bytes) => {
        const { callbackID } = decodePayload(P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.result, bytes);
        connection.events.register(callbackID, domain?.uuid, eventID);
        return bytes;
      });
    }),

    legacyEventCall(P.CONNECT_DOMAIN_EVENT_REGISTER, lifecycle, registerLegacy),
    legacyEventCall(P.CONNECT_DOMAIN_EVENT_DEREGISTER, lifecycle, deregisterLegacy),
    legacyEventCall(P.CONNECT_DOMAIN_EVENT_REGISTER_ANY, ({ eventID }) => eventID, registerLegacy),
    legacyEventCall(P.CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, ({ eventID }) => eventID, deregisterLegacy),

    proxyCall(P.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, (connection, call, frame, { callbackID }) => {
      connection.toUpstream(call, frame, (_reply, bytes) => {
        connection.events.deregister(callbackID);
        return bytes;
      });
    }),
  ]);
}

const lifecycle = (): number => EVENT_ID.LIFECYCLE;
const registerLegacy = (events: EventClient): void => events.register('legacy', undefined);
const deregisterLegacy = (events: EventClient): void => void events.deregister('legacy');

/** Clients from before 1.2.1 have one registration for each event, without a number. */
function legacyEventCall<A, R>(
  procedure: Procedure<A, R>,
  eventOf: (args: A) => number,
  done: (events: EventClient) => void,
): [number, ProxyCall] {
  return proxyCall(procedure, (connection, call, frame, args) => {
    connection.toUpstream(call, frame, (_reply, bytes) => {
      if (eventOf(args) === EVENT_ID.LIFECYCLE) done(connection.events);
      return bytes;
    });
  });
}

/** Passed on as decoded. It is decoded only to refuse secrets. */
function secretsCall<A>(procedure: Procedure<A, unknown>): [number, ProxyCall] {
  return proxyCall(
    procedure,
    (connection, call, frame) => connection.toUpstream(call, frame),
    ({ readOnly }) => readOnly,
  );
}
