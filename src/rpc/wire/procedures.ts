/** The calls that are answered or checked here, as remote_protocol.x declares them. The rest pass through undecoded. */

import type { ErrorDomain } from '../../errors.ts';
import { XML } from '../../model/flags.ts';
import {
  type Codec,
  hyper,
  int,
  list,
  name,
  nothing,
  optional,
  rest,
  string,
  struct,
  uhyper,
  uint,
  uuid,
} from './codec.ts';
import { domain, snapshot, snapshots } from './messages.ts';
import { fileSystems, jobInfo } from './results.ts';
import { typedParams } from './typed-params.ts';

/** virConnectFlags. */
export const CONNECT = { RO: 0x1 } as const;

/** virDrvFeature, as CONNECT_SUPPORTS_FEATURE asks for them. */
export const FEATURE = { FD_PASSING: 8, PROGRAM_KEEPALIVE: 10, EVENT_CALLBACK: 14, CLOSE_CALLBACK: 15 } as const;

/** virDomainEventID; `LAST` is the first that libvirt 9.0 does not know. */
export const EVENT_ID = { LIFECYCLE: 0, BLOCK_JOB: 8, BLOCK_JOB_2: 16, LAST: 27 } as const;

/** VIR_DOMAIN_SHUTDOWN_GUEST_AGENT, VIR_DOMAIN_REBOOT_GUEST_AGENT. */
export const BY_AGENT = 0x2;

/** virDomainUndefineFlagsValues: those that have an effect here. */
export const UNDEFINE = { MANAGED_SAVE: 0x1, SNAPSHOTS_METADATA: 0x2 } as const;

/** Refuses secrets to read-only connections, as libvirt's public functions do. */
interface SecretsRule<A> {
  readonly domain: ErrorDomain;
  /** The detail of error OPERATION_DENIED, or nothing if these arguments ask for no secrets. */
  refusal(args: A): string | undefined;
}

/** A procedure with the types of its arguments and its result. */
export interface Procedure<A, R> {
  readonly number: number;
  readonly args: Codec<A>;
  readonly result: Codec<R>;
  /** Of a procedure that read-only connections may call, but for secrets. The others are in read-only/refused.ts. */
  readonly secrets?: SecretsRule<A>;
}

function procedure<A, R>(
  number: number,
  args: Codec<A>,
  result: Codec<R>,
  secrets?: SecretsRule<NoInfer<A>>,
): Procedure<A, R> {
  return secrets ? { number, args, result, secrets } : { number, args, result };
}

/** `bits`: the flags that ask for secrets. */
const withSecrets = (
  about: ErrorDomain,
  call: string,
  bits: number = XML.SECURE,
): SecretsRule<{ readonly flags: number }> => ({
  domain: about,
  refusal: ({ flags }) => ((flags & bits) !== 0 ? `${call} with secure flag` : undefined),
});

const domainOnly = struct({ domain });
const domainFlags = struct({ domain, flags: uint });
const diskFlags = struct({ domain, disk: name, flags: uint });
const snapshotFlags = struct({ snapshot, flags: uint });
const eventOnly = struct({ eventID: int });
const names = struct({ names: list(name) });
const number = struct({ value: int });
const large = struct({ value: uhyper });
const text = struct({ value: string });
const oneDomain = struct({ domain });
const oneSnapshot = struct({ snapshot });
/** REMOTE_DOMAIN_BLOCK_COPY_PARAMETERS_MAX. */
const BLOCK_COPY_PARAMETERS_MAX = 16;
/** REMOTE_DOMAIN_FSFREEZE_MOUNTPOINTS_MAX. */
const MOUNTPOINTS_MAX = 256;
const mountpoints = struct({ domain, mountpoints: list(name, MOUNTPOINTS_MAX), flags: uint });
/** The arguments of saves and migrations all begin with the domain. */
const domainAndRest = struct({ domain, rest });
/** REMOTE_CONNECT_IDENTITY_PARAMS_MAX. */
const IDENTITY_PARAMS_MAX = 20;
/** REMOTE_DOMAIN_GUEST_VCPU_PARAMS_MAX, REMOTE_DOMAIN_GUEST_INFO_PARAMS_MAX. */
const GUEST_VCPU_PARAMS_MAX = 64;
const GUEST_INFO_PARAMS_MAX = 2_048;
/** REMOTE_DOMAIN_JOB_STATS_MAX. */
const JOB_STATS_MAX = 64;
/** REMOTE_CONNECT_GET_ALL_DOMAIN_STATS_MAX. */
const ALL_DOMAIN_STATS_MAX = 4_096;
/**
 * Domains that one call may name. libvirt takes 16,384, the same one again and again: here their statistics are gathered while
 * others wait.
 */
const STATS_DOMAINS_MAX = 512;
const jobStats = struct({ type: int, params: typedParams(JOB_STATS_MAX) });
const snapshotList = struct({ snapshots, count: int });
/** char model[32], one word each. */
const nodeModel: Codec<readonly number[]> = {
  max: 32 * int.max,
  write: (writer, letters) => {
    for (let at = 0; at < 32; at += 1) writer.int(letters[at] ?? 0);
  },
  read: (reader) => Array.from({ length: 32 }, () => reader.int()),
};

/** Keys are the names of remote_protocol.x without `REMOTE_PROC_`, in the order of their numbers. */
export const PROCEDURES = {
  CONNECT_OPEN: procedure(1, struct({ name: optional(name), flags: uint }), nothing),
  CONNECT_CLOSE: procedure(2, nothing, nothing),
  CONNECT_GET_TYPE: procedure(3, nothing, text),
  CONNECT_GET_VERSION: procedure(4, nothing, large),
  NODE_GET_INFO: procedure(
    6,
    nothing,
    struct({
      model: nodeModel,
      memory: uhyper,
      cpus: int,
      mhz: int,
      nodes: int,
      sockets: int,
      cores: int,
      threads: int,
    }),
  ),
  CONNECT_GET_CAPABILITIES: procedure(7, nothing, text),
  DOMAIN_ATTACH_DEVICE: procedure(8, domainAndRest, nothing),
  DOMAIN_CREATE: procedure(9, domainOnly, nothing),
  DOMAIN_CREATE_XML: procedure(10, struct({ xml: string, flags: uint }), oneDomain),
  DOMAIN_DEFINE_XML: procedure(11, struct({ xml: string }), oneDomain),
  DOMAIN_DESTROY: procedure(12, domainOnly, nothing),
  DOMAIN_DETACH_DEVICE: procedure(13, domainAndRest, nothing),
  DOMAIN_GET_XML_DESC: procedure(
    14,
    domainFlags,
    text,
    withSecrets('DOMAIN', 'virDomainGetXMLDesc', XML.SECURE | XML.MIGRATABLE),
  ),
  DOMAIN_GET_AUTOSTART: procedure(15, domainOnly, number),
  DOMAIN_GET_INFO: procedure(
    16,
    domainOnly,
    struct({ state: int, maxMemory: uhyper, memory: uhyper, vcpus: int, cpuTime: uhyper }),
  ),
  DOMAIN_GET_MAX_MEMORY: procedure(17, domainOnly, large),
  DOMAIN_GET_MAX_VCPUS: procedure(18, domainOnly, number),
  DOMAIN_GET_OS_TYPE: procedure(19, domainOnly, text),
  CONNECT_LIST_DEFINED_DOMAINS: procedure(21, struct({ maxnames: int }), names),
  DOMAIN_LOOKUP_BY_ID: procedure(22, struct({ id: int }), oneDomain),
  DOMAIN_LOOKUP_BY_NAME: procedure(23, struct({ name }), oneDomain),
  DOMAIN_LOOKUP_BY_UUID: procedure(24, struct({ uuid }), oneDomain),
  CONNECT_NUM_OF_DEFINED_DOMAINS: procedure(25, nothing, number),
  DOMAIN_REBOOT: procedure(27, domainFlags, nothing),
  DOMAIN_RESUME: procedure(28, domainOnly, nothing),
  DOMAIN_SHUTDOWN: procedure(33, domainOnly, nothing),
  DOMAIN_SUSPEND: procedure(34, domainOnly, nothing),
  DOMAIN_UNDEFINE: procedure(35, domainOnly, nothing),
  CONNECT_LIST_DOMAINS: procedure(37, struct({ maxids: int }), struct({ ids: list(int) })),
  CONNECT_NUM_OF_DOMAINS: procedure(51, nothing, number),
  DOMAIN_RESTORE: procedure(54, struct({ from: string }), nothing),
  DOMAIN_SAVE: procedure(55, struct({ domain, to: string }), nothing),
  CONNECT_GET_HOSTNAME: procedure(59, nothing, text),
  CONNECT_SUPPORTS_FEATURE: procedure(60, struct({ feature: int }), struct({ supported: int })),
  DOMAIN_MIGRATE_PERFORM: procedure(62, domainAndRest, nothing),
  AUTH_LIST: procedure(66, nothing, struct({ types: list(int, 20) })),
  AUTH_POLKIT: procedure(70, nothing, struct({ complete: int })),
  CONNECT_DOMAIN_EVENT_REGISTER: procedure(105, nothing, struct({ registered: int })),
  CONNECT_DOMAIN_EVENT_DEREGISTER: procedure(106, nothing, struct({ registered: int })),
  CONNECT_GET_URI: procedure(110, nothing, text),
  CONNECT_IS_SECURE: procedure(149, nothing, number),
  DOMAIN_IS_ACTIVE: procedure(150, domainOnly, number),
  DOMAIN_IS_PERSISTENT: procedure(151, domainOnly, number),
  CONNECT_GET_LIB_VERSION: procedure(157, nothing, large),
  DOMAIN_ATTACH_DEVICE_FLAGS: procedure(160, domainAndRest, nothing),
  DOMAIN_DETACH_DEVICE_FLAGS: procedure(161, domainAndRest, nothing),
  DOMAIN_GET_JOB_INFO: procedure(163, domainOnly, jobInfo),
  DOMAIN_ABORT_JOB: procedure(164, domainOnly, nothing),
  CONNECT_DOMAIN_EVENT_REGISTER_ANY: procedure(167, eventOnly, nothing),
  CONNECT_DOMAIN_EVENT_DEREGISTER_ANY: procedure(168, eventOnly, nothing),
  DOMAIN_UPDATE_DEVICE_FLAGS: procedure(174, domainAndRest, nothing),
  DOMAIN_MANAGED_SAVE: procedure(182, domainFlags, nothing),
  DOMAIN_HAS_MANAGED_SAVE_IMAGE: procedure(183, domainFlags, number),
  DOMAIN_MANAGED_SAVE_REMOVE: procedure(184, domainFlags, nothing),
  DOMAIN_SNAPSHOT_CREATE_XML: procedure(185, struct({ domain, xml: string, flags: uint }), oneSnapshot),
  DOMAIN_SNAPSHOT_GET_XML_DESC: procedure(
    186,
    snapshotFlags,
    text,
    withSecrets('DOMAIN_SNAPSHOT', 'virDomainSnapshotGetXMLDesc'),
  ),
  DOMAIN_SNAPSHOT_NUM: procedure(187, domainFlags, number),
  DOMAIN_SNAPSHOT_LIST_NAMES: procedure(188, struct({ domain, maxnames: int, flags: uint }), names),
  DOMAIN_SNAPSHOT_LOOKUP_BY_NAME: procedure(189, struct({ domain, name, flags: uint }), oneSnapshot),
  DOMAIN_HAS_CURRENT_SNAPSHOT: procedure(190, domainFlags, number),
  DOMAIN_SNAPSHOT_CURRENT: procedure(191, domainFlags, oneSnapshot),
  DOMAIN_REVERT_TO_SNAPSHOT: procedure(192, snapshotFlags, nothing),
  DOMAIN_SNAPSHOT_DELETE: procedure(193, snapshotFlags, nothing),
  DOMAIN_GET_BLOCK_INFO: procedure(194, diskFlags, struct({ allocation: uhyper, capacity: uhyper, physical: uhyper })),
  DOMAIN_CREATE_WITH_FLAGS: procedure(196, domainFlags, oneDomain),
  DOMAIN_IS_UPDATED: procedure(202, domainOnly, number),
  DOMAIN_GET_STATE: procedure(212, domainFlags, struct({ state: int, reason: int })),
  DOMAIN_MIGRATE_BEGIN3: procedure(213, domainAndRest, nothing),
  DOMAIN_MIGRATE_PERFORM3: procedure(216, domainAndRest, nothing),
  DOMAIN_UNDEFINE_FLAGS: procedure(231, domainFlags, nothing),
  DOMAIN_SAVE_FLAGS: procedure(232, struct({ domain, to: string, dxml: optional(string), flags: uint }), nothing),
  DOMAIN_RESTORE_FLAGS: procedure(233, struct({ from: string, dxml: optional(string), flags: uint }), nothing),
  DOMAIN_DESTROY_FLAGS: procedure(234, domainFlags, nothing),
  DOMAIN_SAVE_IMAGE_GET_XML_DESC: procedure(235, struct({ file: string, flags: uint }), text),
  DOMAIN_SAVE_IMAGE_DEFINE_XML: procedure(236, struct({ file: string, dxml: string, flags: uint }), nothing),
  DOMAIN_BLOCK_JOB_ABORT: procedure(237, diskFlags, nothing),
  DOMAIN_GET_BLOCK_JOB_INFO: procedure(
    238,
    diskFlags,
    struct({ found: int, type: int, bandwidth: uhyper, cur: uhyper, end: uhyper }),
  ),
  DOMAIN_BLOCK_JOB_SET_SPEED: procedure(239, struct({ domain, disk: name, bandwidth: uhyper, flags: uint }), nothing),
  DOMAIN_BLOCK_PULL: procedure(240, struct({ domain, disk: name, bandwidth: uhyper, flags: uint }), nothing),
  DOMAIN_SNAPSHOT_GET_PARENT: procedure(244, snapshotFlags, oneSnapshot),
  DOMAIN_SNAPSHOT_NUM_CHILDREN: procedure(246, snapshotFlags, number),
  DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES: procedure(247, struct({ snapshot, maxnames: int, flags: uint }), names),
  DOMAIN_BLOCK_RESIZE: procedure(251, struct({ domain, disk: name, size: uhyper, flags: uint }), nothing),
  DOMAIN_SHUTDOWN_FLAGS: procedure(258, domainFlags, nothing),
  DOMAIN_GET_METADATA: procedure(265, struct({ domain, type: int, uri: optional(name), flags: uint }), text),
  DOMAIN_BLOCK_REBASE: procedure(
    266,
    struct({ domain, disk: name, base: optional(name), bandwidth: uhyper, flags: uint }),
    nothing,
  ),
  DOMAIN_SNAPSHOT_IS_CURRENT: procedure(271, snapshotFlags, number),
  DOMAIN_SNAPSHOT_HAS_METADATA: procedure(272, snapshotFlags, number),
  CONNECT_LIST_ALL_DOMAINS: procedure(
    273,
    struct({ needResults: int, flags: uint }),
    struct({ domains: list(domain), count: uint }),
  ),
  DOMAIN_LIST_ALL_SNAPSHOTS: procedure(274, struct({ domain, needResults: int, flags: uint }), snapshotList),
  DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN: procedure(275, struct({ snapshot, needResults: int, flags: uint }), snapshotList),
  DOMAIN_BLOCK_COMMIT: procedure(
    290,
    struct({ domain, disk: name, base: optional(name), top: optional(name), bandwidth: uhyper, flags: uint }),
    nothing,
  ),
  DOMAIN_GET_JOB_STATS: procedure(298, domainFlags, jobStats),
  DOMAIN_MIGRATE_BEGIN3_PARAMS: procedure(302, domainAndRest, nothing),
  DOMAIN_MIGRATE_PERFORM3_PARAMS: procedure(305, domainAndRest, nothing),
  CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY: procedure(
    316,
    struct({ eventID: int, domain: optional(domain) }),
    struct({ callbackID: int }),
  ),
  CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY: procedure(317, struct({ callbackID: int }), nothing),
  DOMAIN_FSFREEZE: procedure(335, mountpoints, number),
  DOMAIN_FSTHAW: procedure(336, mountpoints, number),
  DOMAIN_GET_TIME: procedure(337, domainFlags, struct({ seconds: hyper, nseconds: uint })),
  DOMAIN_SET_TIME: procedure(338, struct({ domain, seconds: hyper, nseconds: uint, flags: uint }), nothing),
  CONNECT_GET_ALL_DOMAIN_STATS: procedure(
    344,
    struct({ domains: list(domain, STATS_DOMAINS_MAX), stats: uint, flags: uint }),
    struct({ records: list(struct({ domain, params: typedParams(ALL_DOMAIN_STATS_MAX) })) }),
  ),
  DOMAIN_BLOCK_COPY: procedure(
    345,
    struct({ domain, disk: name, destxml: string, params: typedParams(BLOCK_COPY_PARAMETERS_MAX), flags: uint }),
    nothing,
  ),
  DOMAIN_GET_FSINFO: procedure(349, domainFlags, fileSystems),
  DOMAIN_DEFINE_XML_FLAGS: procedure(350, struct({ xml: string, flags: uint }), oneDomain),
  DOMAIN_RENAME: procedure(358, struct({ domain, newName: optional(name), flags: uint }), number),
  CONNECT_REGISTER_CLOSE_CALLBACK: procedure(360, nothing, nothing),
  CONNECT_UNREGISTER_CLOSE_CALLBACK: procedure(361, nothing, nothing),
  DOMAIN_GET_GUEST_VCPUS: procedure(371, domainFlags, struct({ params: typedParams(GUEST_VCPU_PARAMS_MAX) })),
  DOMAIN_SET_GUEST_VCPUS: procedure(372, struct({ domain, cpumap: string, state: int, flags: uint }), nothing),
  DOMAIN_MANAGED_SAVE_GET_XML_DESC: procedure(
    388,
    domainFlags,
    text,
    withSecrets('DOMAIN', 'virDomainManagedSaveGetXMLDesc'),
  ),
  DOMAIN_MANAGED_SAVE_DEFINE_XML: procedure(389, struct({ domain, dxml: optional(string), flags: uint }), nothing),
  DOMAIN_DETACH_DEVICE_ALIAS: procedure(392, domainAndRest, nothing),
  DOMAIN_CHECKPOINT_GET_XML_DESC: procedure(
    412,
    // remote_nonnull_domain_checkpoint has the members of a snapshot.
    snapshotFlags,
    text,
    withSecrets('DOMAIN_CHECKPOINT', 'virDomainCheckpointGetXMLDesc'),
  ),
  DOMAIN_GET_GUEST_INFO: procedure(
    418,
    struct({ domain, types: uint, flags: uint }),
    struct({ params: typedParams(GUEST_INFO_PARAMS_MAX) }),
  ),
  CONNECT_SET_IDENTITY: procedure(419, struct({ params: typedParams(IDENTITY_PARAMS_MAX), flags: uint }), nothing),
  DOMAIN_SAVE_PARAMS: procedure(440, domainAndRest, nothing),
  DOMAIN_ABORT_JOB_FLAGS: procedure(442, domainFlags, nothing),
} as const;
