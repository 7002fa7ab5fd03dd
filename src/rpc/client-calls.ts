/** The calls that the client sends upstream: numbers and structs of libvirt's remote_protocol.x. */

import type { DomainRef } from '../model/domain.ts';
import type { RemoteCall } from './client-connection.ts';
import { type Codec, int, list, nothing, optional, string, struct, uhyper, uint, uuid } from './codec.ts';
import { domain } from './messages.ts';

/** REMOTE_AUTH_TYPE_LIST_MAX. */
const AUTH_TYPES_MAX = 20;

function call<A, R>(name: string, procedure: number, args: Codec<A>, result: Codec<R>): RemoteCall<A, R> {
  return { name, procedure, args, result };
}

const justDomain = struct<{ domain: DomainRef }>({ domain });
const domainAndFlags = struct<{ domain: DomainRef; flags: number }>({ domain, flags: uint });

export const CALLS = {
  authList: call('virConnectOpenAuth', 66, nothing, list(int, AUTH_TYPES_MAX)),
  authPolkit: call('virConnectOpenAuth', 70, nothing, int),
  supportsFeature: call('virConnectOpenAuth', 60, int, int),
  open: call('virConnectOpen', 1, struct({ name: optional(string), flags: uint }), nothing),
  registerLifecycle: call(
    'virConnectDomainEventRegisterAny',
    316,
    struct({ eventID: int, domain: optional(domain) }),
    int,
  ),
  getType: call('virConnectGetType', 3, nothing, string),
  listAllDomains: call(
    'virConnectListAllDomains',
    273,
    struct({ needResults: int, flags: uint }),
    struct({ domains: list(domain), count: uint }),
  ),
  lookupByName: call('virDomainLookupByName', 23, string, domain),
  lookupByUUID: call('virDomainLookupByUUID', 24, uuid, domain),
  getState: call('virDomainGetState', 212, domainAndFlags, struct({ state: int, reason: int })),
  isPersistent: call('virDomainIsPersistent', 151, justDomain, int),
  getXMLDesc: call('virDomainGetXMLDesc', 14, domainAndFlags, string),
  defineXML: call('virDomainDefineXML', 11, string, domain),
  createWithFlags: call('virDomainCreateWithFlags', 196, domainAndFlags, domain),
  destroy: call('virDomainDestroy', 12, justDomain, nothing),
  shutdown: call('virDomainShutdown', 33, justDomain, nothing),
  suspend: call('virDomainSuspend', 34, justDomain, nothing),
  resume: call('virDomainResume', 28, justDomain, nothing),
  saveFlags: call(
    'virDomainSaveFlags',
    232,
    struct({ domain, to: string, dxml: optional(string), flags: uint }),
    nothing,
  ),
  restoreFlags: call(
    'virDomainRestoreFlags',
    233,
    struct({ from: string, dxml: optional(string), flags: uint }),
    nothing,
  ),
  saveImageGetXMLDesc: call('virDomainSaveImageGetXMLDesc', 235, struct({ file: string, flags: uint }), string),
  pmSuspendForDuration: call(
    'virDomainPMSuspendForDuration',
    261,
    struct({ domain, target: uint, duration: uhyper, flags: uint }),
    nothing,
  ),
  pmWakeup: call('virDomainPMWakeup', 267, domainAndFlags, nothing),
} as const;
