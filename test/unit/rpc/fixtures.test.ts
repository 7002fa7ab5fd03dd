/** fixtures/rpc: every call that is answered here, and its reply, as bytes with their meaning; read and written. */

import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../src/errors.ts';
import { type Codec, nothing } from '../../../src/rpc/wire/codec.ts';
import { decodeHeader, decodePayload, encodeFrame, HEADER_BYTES, PROGRAM, TYPE } from '../../../src/rpc/wire/frames.ts';
import { legacyLifecycleMessage, lifecycleMessage, remoteError } from '../../../src/rpc/wire/messages.ts';
import { PROCEDURES as P } from '../../../src/rpc/wire/procedures.ts';
import { rpcFixture, rpcFixtureNames } from '../../support/rpc/fixtures.ts';

const uuid = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const test1 = { name: 'test', uuid, id: 1 };
const off = { ...test1, id: -1 };
const s1 = { name: 's1', domain: test1 };
const XML = "<domain type='xen'/>";
const SNAPSHOT_XML = '<domainsnapshot>\n  <name>s1</name>\n</domainsnapshot>\n';
const MIB = 1n << 20n;
const JOB_INFO = {
  type: 2,
  timeElapsed: 1_500n,
  timeRemaining: 0n,
  dataTotal: 10n * MIB,
  dataProcessed: 3n * MIB,
  dataRemaining: 7n * MIB,
  memTotal: 10n * MIB,
  memProcessed: 3n * MIB,
  memRemaining: 7n * MIB,
  fileTotal: 0n,
  fileProcessed: 0n,
  fileRemaining: 0n,
};
const JOB_STATS = {
  type: 2,
  params: [
    { field: 'operation', type: 'int', value: 6 },
    { field: 'time_elapsed', type: 'ullong', value: 1_500n },
  ],
};

/** Of these arguments only the domain is read: the rest is kept as it is. */
const DOMAIN_FIRST = { domain: test1, rest: expect.any(Buffer) };

/** What the two fixtures of each procedure say. Without a second one, the reply has no payload, or is not read. */
const SAID: Readonly<Record<keyof typeof P, readonly [args: unknown, result?: unknown]>> = {
  CONNECT_OPEN: [{ name: 'test:///default', flags: 1 }],
  CONNECT_CLOSE: [undefined],
  CONNECT_GET_TYPE: [undefined, { value: 'Xen' }],
  CONNECT_GET_VERSION: [undefined, { value: 4_017_000n }],
  NODE_GET_INFO: [
    undefined,
    {
      model: [0x78, 0x38, 0x36, ...Array(29).fill(0)],
      memory: 4_194_304n,
      cpus: 2,
      mhz: 2400,
      nodes: 1,
      sockets: 1,
      cores: 2,
      threads: 1,
    },
  ],
  CONNECT_GET_CAPABILITIES: [undefined, { value: '<capabilities/>' }],
  DOMAIN_CREATE: [{ domain: off }],
  DOMAIN_CREATE_XML: [{ xml: XML, flags: 1 }, { domain: test1 }],
  DOMAIN_DEFINE_XML: [{ xml: XML }, { domain: off }],
  DOMAIN_DESTROY: [{ domain: test1 }],
  DOMAIN_GET_XML_DESC: [{ domain: test1, flags: 3 }, { value: XML }],
  DOMAIN_GET_AUTOSTART: [{ domain: test1 }, { value: 0 }],
  DOMAIN_GET_INFO: [
    { domain: test1 },
    { state: 1, maxMemory: 1_048_576n, memory: 524_288n, vcpus: 2, cpuTime: 1_500_000_000n },
  ],
  DOMAIN_GET_MAX_MEMORY: [{ domain: test1 }, { value: 1_048_576n }],
  DOMAIN_GET_MAX_VCPUS: [{ domain: test1 }, { value: 2 }],
  DOMAIN_GET_OS_TYPE: [{ domain: test1 }, { value: 'linux' }],
  CONNECT_LIST_DEFINED_DOMAINS: [{ maxnames: 16 }, { names: ['idle', 'off'] }],
  DOMAIN_LOOKUP_BY_ID: [{ id: 1 }, { domain: test1 }],
  DOMAIN_LOOKUP_BY_NAME: [{ name: 'test' }, { domain: test1 }],
  DOMAIN_LOOKUP_BY_UUID: [{ uuid }, { domain: test1 }],
  CONNECT_NUM_OF_DEFINED_DOMAINS: [undefined, { value: 2 }],
  DOMAIN_RESUME: [{ domain: test1 }],
  DOMAIN_REBOOT: [{ domain: test1, flags: 1 }],
  DOMAIN_SHUTDOWN: [{ domain: test1 }],
  DOMAIN_SUSPEND: [{ domain: test1 }],
  DOMAIN_UNDEFINE: [{ domain: off }],
  CONNECT_LIST_DOMAINS: [{ maxids: 16 }, { ids: [0, 1] }],
  CONNECT_NUM_OF_DOMAINS: [undefined, { value: 2 }],
  CONNECT_GET_HOSTNAME: [undefined, { value: 'dom0' }],
  CONNECT_SUPPORTS_FEATURE: [{ feature: 8 }, { supported: 0 }],
  AUTH_LIST: [undefined, { types: [0] }],
  AUTH_POLKIT: [undefined, { complete: 1 }],
  CONNECT_SET_IDENTITY: [
    {
      params: [
        { field: 'unix-user-id', type: 'ullong', value: 1001n },
        { field: 'unix-group-id', type: 'ullong', value: 1001n },
        { field: 'process-id', type: 'llong', value: 4242n },
        { field: 'process-time', type: 'ullong', value: 987654n },
      ],
      flags: 0,
    },
  ],
  CONNECT_DOMAIN_EVENT_REGISTER: [undefined, { registered: 0 }],
  CONNECT_DOMAIN_EVENT_DEREGISTER: [undefined, { registered: 0 }],
  CONNECT_GET_URI: [undefined, { value: 'xen:///system' }],
  CONNECT_IS_SECURE: [undefined, { value: 1 }],
  DOMAIN_IS_ACTIVE: [{ domain: test1 }, { value: 1 }],
  DOMAIN_IS_PERSISTENT: [{ domain: test1 }, { value: 1 }],
  CONNECT_GET_LIB_VERSION: [undefined, { value: 9_000_000n }],
  DOMAIN_GET_JOB_INFO: [{ domain: test1 }, JOB_INFO],
  DOMAIN_ABORT_JOB: [{ domain: test1 }],
  DOMAIN_ABORT_JOB_FLAGS: [{ domain: test1, flags: 1 }],
  CONNECT_DOMAIN_EVENT_REGISTER_ANY: [{ eventID: 0 }],
  CONNECT_DOMAIN_EVENT_DEREGISTER_ANY: [{ eventID: 0 }],
  DOMAIN_HAS_MANAGED_SAVE_IMAGE: [{ domain: test1, flags: 0 }, { value: 0 }],
  DOMAIN_SNAPSHOT_CREATE_XML: [{ domain: test1, xml: SNAPSHOT_XML, flags: 0 }, { snapshot: s1 }],
  DOMAIN_SNAPSHOT_GET_XML_DESC: [{ snapshot: s1, flags: 1 }, { value: '<domainsnapshot/>\n' }],
  DOMAIN_SNAPSHOT_NUM: [{ domain: test1, flags: 2 }, { value: 3 }],
  DOMAIN_SNAPSHOT_LIST_NAMES: [{ domain: test1, maxnames: 16, flags: 0 }, { names: ['s1', 'first', 'four'] }],
  DOMAIN_SNAPSHOT_LOOKUP_BY_NAME: [{ domain: test1, name: 's1', flags: 0 }, { snapshot: s1 }],
  DOMAIN_HAS_CURRENT_SNAPSHOT: [{ domain: test1, flags: 0 }, { value: 1 }],
  DOMAIN_SNAPSHOT_CURRENT: [{ domain: test1, flags: 0 }, { snapshot: s1 }],
  DOMAIN_REVERT_TO_SNAPSHOT: [{ snapshot: s1, flags: 6 }],
  DOMAIN_SNAPSHOT_DELETE: [{ snapshot: s1, flags: 1 }, undefined],
  DOMAIN_CREATE_WITH_FLAGS: [{ domain: off, flags: 1 }, { domain: test1 }],
  DOMAIN_IS_UPDATED: [{ domain: test1 }, { value: 0 }],
  DOMAIN_GET_STATE: [
    { domain: test1, flags: 0 },
    { state: 1, reason: 4 },
  ],
  DOMAIN_SAVE: [{ domain: test1, to: '/s/a.s' }],
  DOMAIN_SAVE_IMAGE_GET_XML_DESC: [{ file: '/s/a.s', flags: 1 }, { value: XML }],
  DOMAIN_SAVE_IMAGE_DEFINE_XML: [{ file: '/s/a.s', dxml: XML, flags: 0 }],
  DOMAIN_MANAGED_SAVE_DEFINE_XML: [{ domain: off, dxml: XML, flags: 0 }],
  DOMAIN_RESTORE: [{ from: '/s/a.s' }],
  DOMAIN_RESTORE_FLAGS: [{ from: '/s/a.s', dxml: null, flags: 4 }],
  DOMAIN_MANAGED_SAVE_REMOVE: [{ domain: off, flags: 0 }],
  DOMAIN_MANAGED_SAVE: [{ domain: test1, flags: 2 }],
  DOMAIN_ATTACH_DEVICE: [DOMAIN_FIRST],
  DOMAIN_DETACH_DEVICE: [DOMAIN_FIRST],
  DOMAIN_ATTACH_DEVICE_FLAGS: [DOMAIN_FIRST],
  DOMAIN_DETACH_DEVICE_FLAGS: [DOMAIN_FIRST],
  DOMAIN_UPDATE_DEVICE_FLAGS: [DOMAIN_FIRST],
  DOMAIN_DETACH_DEVICE_ALIAS: [DOMAIN_FIRST],
  DOMAIN_SAVE_FLAGS: [{ domain: test1, to: '/s/a.s', dxml: null, flags: 2 }],
  DOMAIN_MIGRATE_PERFORM: [DOMAIN_FIRST],
  DOMAIN_SAVE_PARAMS: [DOMAIN_FIRST],
  DOMAIN_MANAGED_SAVE_GET_XML_DESC: [{ domain: test1, flags: 1 }, { value: XML }],
  DOMAIN_CHECKPOINT_GET_XML_DESC: [{ snapshot: { name: 's1', domain: test1 }, flags: 1 }, { value: XML }],
  DOMAIN_MIGRATE_BEGIN3: [DOMAIN_FIRST],
  DOMAIN_MIGRATE_PERFORM3: [DOMAIN_FIRST],
  DOMAIN_UNDEFINE_FLAGS: [{ domain: off, flags: 3 }],
  DOMAIN_DESTROY_FLAGS: [{ domain: test1, flags: 1 }],
  DOMAIN_SNAPSHOT_GET_PARENT: [{ snapshot: s1, flags: 0 }, { snapshot: { ...s1, name: 's0' } }],
  DOMAIN_SNAPSHOT_NUM_CHILDREN: [{ snapshot: s1, flags: 0 }, { value: 2 }],
  DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES: [{ snapshot: s1, maxnames: 16, flags: 1 }, { names: ['s2'] }],
  DOMAIN_SHUTDOWN_FLAGS: [{ domain: test1, flags: 1 }],
  DOMAIN_GET_METADATA: [{ domain: test1, type: 2, uri: 'urn:x', flags: 0 }, { value: '<x/>' }],
  DOMAIN_SNAPSHOT_IS_CURRENT: [{ snapshot: s1, flags: 0 }, { value: 1 }],
  DOMAIN_SNAPSHOT_HAS_METADATA: [{ snapshot: s1, flags: 0 }, { value: 1 }],
  CONNECT_LIST_ALL_DOMAINS: [
    { needResults: 1, flags: 0x1003 },
    { domains: [test1, { name: 'idle', uuid, id: -1 }], count: 2 },
  ],
  DOMAIN_LIST_ALL_SNAPSHOTS: [
    { domain: test1, needResults: 1, flags: 0x400 },
    { snapshots: [s1, { ...s1, name: 'Schnappschuß' }], count: 2 },
  ],
  DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN: [
    { snapshot: s1, needResults: 0, flags: 0 },
    { snapshots: [], count: 2 },
  ],
  DOMAIN_GET_JOB_STATS: [{ domain: test1, flags: 0 }, JOB_STATS],
  DOMAIN_MIGRATE_BEGIN3_PARAMS: [DOMAIN_FIRST],
  DOMAIN_MIGRATE_PERFORM3_PARAMS: [DOMAIN_FIRST],
  CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY: [{ eventID: 0, domain: test1 }, { callbackID: 7 }],
  CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY: [{ callbackID: 7 }],
  DOMAIN_GET_BLOCK_INFO: [
    { domain: test1, disk: 'xvda', flags: 0 },
    { allocation: 200_704n, capacity: 64n * MIB, physical: 262_144n },
  ],
  DOMAIN_BLOCK_JOB_ABORT: [{ domain: test1, disk: 'xvda', flags: 2 }],
  DOMAIN_GET_BLOCK_JOB_INFO: [
    { domain: test1, disk: 'xvda', flags: 1 },
    { found: 1, type: 4, bandwidth: MIB, cur: 65_536n, end: 131_072n },
  ],
  DOMAIN_BLOCK_JOB_SET_SPEED: [{ domain: test1, disk: 'xvda', bandwidth: 10n, flags: 0 }],
  DOMAIN_BLOCK_PULL: [{ domain: test1, disk: 'xvda', bandwidth: 0n, flags: 0 }],
  DOMAIN_BLOCK_REBASE: [{ domain: test1, disk: 'xvda', base: '/base', bandwidth: 0n, flags: 0 }],
  DOMAIN_BLOCK_COMMIT: [{ domain: test1, disk: 'xvda', base: null, top: null, bandwidth: 0n, flags: 4 }],
  DOMAIN_BLOCK_RESIZE: [{ domain: test1, disk: 'xvda', size: 131_072n, flags: 0 }],
  DOMAIN_BLOCK_COPY: [
    {
      domain: test1,
      disk: 'xvda',
      destxml: "<disk type='file'><source file='/copy'/></disk>",
      params: [{ field: 'bandwidth', type: 'ullong', value: 1_048_576n }],
      flags: 4,
    },
  ],
  DOMAIN_FSFREEZE: [{ domain: test1, mountpoints: ['/', '/var'], flags: 0 }, { value: 2 }],
  DOMAIN_FSTHAW: [{ domain: test1, mountpoints: [], flags: 0 }, { value: 2 }],
  DOMAIN_GET_TIME: [
    { domain: test1, flags: 0 },
    { seconds: 1_795_527_892n, nseconds: 123_456_789 },
  ],
  DOMAIN_SET_TIME: [{ domain: test1, seconds: 1_795_527_892n, nseconds: 0, flags: 0 }],
  DOMAIN_GET_FSINFO: [
    { domain: test1, flags: 0 },
    { info: [{ mountpoint: '/', name: 'xvda1', fstype: 'ext4', devAliases: ['xvda'] }], ret: 1 },
  ],
  DOMAIN_GET_GUEST_INFO: [
    { domain: test1, types: 8, flags: 0 },
    { params: [{ field: 'hostname', type: 'string', value: 'guest' }] },
  ],
  DOMAIN_GET_GUEST_VCPUS: [{ domain: test1, flags: 0 }, { params: [{ field: 'vcpus', type: 'string', value: '0-3' }] }],
  DOMAIN_SET_GUEST_VCPUS: [{ domain: test1, cpumap: '1-2', state: 0, flags: 0 }],
  CONNECT_GET_ALL_DOMAIN_STATS: [
    { domains: [], stats: 5, flags: 1 },
    { records: [{ domain: test1, params: [{ field: 'state.state', type: 'int', value: 1 }] }] },
  ],
  DOMAIN_DEFINE_XML_FLAGS: [{ xml: XML, flags: 1 }, { domain: off }],
  DOMAIN_RENAME: [{ domain: off, newName: 'new', flags: 0 }, { value: 0 }],
  CONNECT_REGISTER_CLOSE_CALLBACK: [undefined],
  CONNECT_UNREGISTER_CLOSE_CALLBACK: [undefined],
};

/** Messages that are no procedure's. */
const OTHERS: Readonly<Record<string, readonly [codec: Codec<never>, value: unknown]>> = {
  'error-reply': [
    remoteError,
    new LibvirtError('NO_DOMAIN_SNAPSHOT', "no domain snapshot with matching name 's2'", { domain: 'DOMAIN_SNAPSHOT' })
      .fields,
  ],
  'event-register-all': [P.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY.args, { eventID: 0, domain: null }],
  'lifecycle-event': [lifecycleMessage, { callbackID: 7, domain: off, event: 5, detail: 6 }],
  'legacy-lifecycle-event': [legacyLifecycleMessage, { domain: off, event: 5, detail: 6 }],
  'keepalive-ping': [nothing, undefined],
} as never;

/** Frames that are passed on or refused, never read. */
const UNREAD = ['reply-with-files', 'stream-data'];

const fixtureOf = (procedure: string): string => procedure.toLowerCase().replaceAll('_', '-');

/** The frame says `value`, and `value` makes the frame. */
function holds(frame: Buffer, codec: Codec<never>, value: unknown): void {
  const read = decodePayload(codec, frame);
  expect(read).toEqual(value);
  expect(encodeFrame(decodeHeader(frame), codec, read).toString('hex')).toBe(frame.toString('hex'));
}

describe('the fixture of', () => {
  test.each(Object.entries(SAID))('%s', (name, [args, ...result]) => {
    const procedure = P[name as keyof typeof P];
    const call = rpcFixture(fixtureOf(name));
    const { number } = procedure;
    expect(decodeHeader(call)).toMatchObject({ procedure: number, type: TYPE.CALL, program: PROGRAM.REMOTE });
    holds(call, procedure.args as Codec<never>, args);
    if (result.length === 0) {
      expect(procedure.result).toBe(nothing);
      return;
    }
    const reply = rpcFixture(`${fixtureOf(name)}-reply`);
    const { serial } = decodeHeader(call);
    expect(decodeHeader(reply)).toMatchObject({ procedure: number, type: TYPE.REPLY, serial });
    holds(reply, procedure.result as Codec<never>, result[0]);
  });

  test.each(Object.entries(OTHERS))('%s', (name, [codec, value]) => {
    holds(rpcFixture(name), codec, value);
  });
});

test('no fixture is left over', () => {
  const calls = Object.entries(SAID).flatMap(([name, said]) =>
    said.length === 1 ? [fixtureOf(name)] : [fixtureOf(name), `${fixtureOf(name)}-reply`],
  );
  expect([...calls, ...Object.keys(OTHERS), ...UNREAD].sort()).toEqual([...rpcFixtureNames].sort());
});

test('of a migration’s arguments everything but the domain stays as it came', () => {
  const frame = rpcFixture('domain-migrate-perform3-params');
  const { rest } = decodePayload(P.DOMAIN_MIGRATE_PERFORM3_PARAMS.args, frame);
  expect(rest).toEqual(frame.subarray(HEADER_BYTES + 28));
});
