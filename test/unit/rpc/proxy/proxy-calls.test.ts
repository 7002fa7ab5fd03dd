/** Calls that are not about snapshots, and that snapshots change. */

import { describe, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { nothing } from '../../../../src/rpc/wire/codec.ts';
import { decodeHeader, encodeFrame, type FrameHeader, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { CONNECT, PROCEDURES as P, type Procedure } from '../../../../src/rpc/wire/procedures.ts';
import {
  answer,
  domain,
  hospitable,
  listener,
  opened,
  overlaid,
  reverted,
  saves,
  snapshots,
  theUpstream,
  upstreamSocket,
} from '../../../support/rpc/proxied.ts';
import { RawClient } from '../../../support/rpc/raw-client.ts';
import { until } from '../../../support/until.ts';

describe('undefine', () => {
  const seen: { readonly header: FrameHeader; readonly flags: number }[] = [];

  async function undefining(): Promise<RawClient> {
    const client = await opened();
    seen.length = 0;
    theUpstream.onFrame = ({ header, bytes }, socket) => {
      seen.push({ header: decodeHeader(bytes), flags: bytes.readUInt32BE(bytes.length - 4) });
      answer(socket, header, nothing, undefined);
    };
    await snapshots.createXML(domain, '<name>s1</name>');
    return client;
  }

  test('goes to the upstream without the flag it does not know, and forgets the snapshots', async () => {
    const client = await undefining();
    await client.call(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 | 0x4 });
    expect(seen).toMatchObject([{ header: { procedure: P.DOMAIN_UNDEFINE_FLAGS.number, serial: 2 }, flags: 0x4 }]);
    expect(snapshots.count(domain.uuid)).toBe(0);
  });

  test('never gets there while there are snapshots', async () => {
    const client = await undefining();
    const detail = 'cannot delete inactive domain with 1 snapshots';
    expect(await client.error(client.send(P.DOMAIN_UNDEFINE, { domain }))).toMatchObject({ code: 55, str2: detail });
    expect(await client.error(client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 1 }))).toMatchObject({ code: 55 });
    expect(seen).toEqual([]);
  });

  test('that fails there leaves the snapshots', async () => {
    const client = await undefining();
    theUpstream.onFrame = ({ header }, socket) =>
      socket.write(encodeFrame({ ...header, type: TYPE.REPLY, status: STATUS.ERROR }, nothing, undefined));
    const call = client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 });
    expect((await client.reply(call)).header.status).toBe(STATUS.ERROR);
    expect(snapshots.count(domain.uuid)).toBe(1);
  });

  test('says so when the snapshots could not be forgotten', async () => {
    const client = await undefining();
    snapshots.forget = async () => {
      throw new LibvirtError('INTERNAL_ERROR', 'no space');
    };
    const call = client.send(P.DOMAIN_UNDEFINE_FLAGS, { domain, flags: 0x2 });
    expect(await client.error(call)).toMatchObject({ message: 'internal error: no space' });
  });
});

describe('what snapshots and their jobs change of other calls', () => {
  /** A client, and the procedures of the calls that have reached the upstream since. */
  async function watched(): Promise<{ readonly client: RawClient; readonly asked: number[] }> {
    const client = await opened();
    const asked: number[] = [];
    theUpstream.onFrame = ({ header }, socket) => {
      asked.push(header.procedure);
      answer(socket, header, nothing, undefined);
    };
    return { client, asked };
  }

  const migrations = [
    P.DOMAIN_MIGRATE_PERFORM,
    P.DOMAIN_MIGRATE_BEGIN3,
    P.DOMAIN_MIGRATE_PERFORM3,
    P.DOMAIN_MIGRATE_BEGIN3_PARAMS,
    P.DOMAIN_MIGRATE_PERFORM3_PARAMS,
  ];

  test.each(migrations)('a domain with snapshots is not migrated: $number', async (migrate) => {
    const { client, asked } = await watched();
    const rest = Buffer.from('0000000100000000', 'hex');
    await client.call(migrate, { domain, rest });
    expect(asked).toEqual([migrate.number]);
    await snapshots.createXML(domain, '<name>s1</name>');
    const refused = await client.error(client.send(migrate, { domain, rest }));
    expect(refused).toMatchObject({ code: 55, str2: 'cannot migrate domain with 1 snapshots' });
    expect(asked).toEqual([migrate.number]);
  });

  /** Ways out of a domain's run for a definition that names the base images. */
  const departures = [
    ['UNDEFINE', P.DOMAIN_UNDEFINE, 'undefined'],
    ['UNDEFINE_FLAGS', P.DOMAIN_UNDEFINE_FLAGS, 'undefined'],
    ['MIGRATE_PERFORM', P.DOMAIN_MIGRATE_PERFORM, 'migrated'],
    ['MIGRATE_BEGIN3', P.DOMAIN_MIGRATE_BEGIN3, 'migrated'],
    ['MIGRATE_PERFORM3', P.DOMAIN_MIGRATE_PERFORM3, 'migrated'],
    ['MIGRATE_BEGIN3_PARAMS', P.DOMAIN_MIGRATE_BEGIN3_PARAMS, 'migrated'],
    ['MIGRATE_PERFORM3_PARAMS', P.DOMAIN_MIGRATE_PERFORM3_PARAMS, 'migrated'],
  ] as const;

  test.each(departures)(
    '%s of a domain on overlays that the upstream does not know may be refused',
    async (...call) => {
      const [, procedure, what] = call;
      const { client, asked } = await watched();
      const args = { domain, flags: 0, rest: Buffer.from('0000000100000000', 'hex') };
      const send = () => client.send(procedure as Procedure<typeof args, unknown>, args);
      await client.reply(send());
      expect(asked.splice(0)).toEqual([procedure.number]);
      overlaid.uuids.add(domain.uuid);
      const refused = await client.error(send());
      expect(refused).toMatchObject({ code: 55, message: expect.stringContaining(`cannot be ${what}`) });
      expect(asked).toEqual([]);
    },
  );

  const saved = { to: '/saved', dxml: null, flags: 0 };
  const savings = [
    ['SAVE', P.DOMAIN_SAVE, saved],
    ['SAVE_FLAGS', P.DOMAIN_SAVE_FLAGS, saved],
    ['MANAGED_SAVE', P.DOMAIN_MANAGED_SAVE, 0],
  ] as const;

  test.each(savings)(
    '%s of a domain on overlays that the upstream does not know is carried out here',
    async (...call) => {
      const [, procedure, request] = call;
      const { client, asked } = await watched();
      const send = () => client.call(procedure as Procedure<object, void>, { domain, ...saved });
      await send();
      expect([asked.splice(0), saves.done]).toEqual([[procedure.number], []]);
      overlaid.uuids.add(domain.uuid);
      await send();
      expect([asked, saves.done]).toEqual([[], [[domain.uuid, request]]]);
    },
  );

  test('a save with parameters, which the xen driver does not have, is refused then', async () => {
    const { client, asked } = await watched();
    overlaid.uuids.add(domain.uuid);
    const refused = await client.error(client.send(P.DOMAIN_SAVE_PARAMS, { domain, rest: Buffer.alloc(8) }));
    expect(refused).toMatchObject({ code: 84, message: expect.stringContaining('save it without parameters') });
    expect([asked, saves.done]).toEqual([[], []]);
  });

  const changes = [
    ['ATTACH_DEVICE', P.DOMAIN_ATTACH_DEVICE],
    ['ATTACH_DEVICE_FLAGS', P.DOMAIN_ATTACH_DEVICE_FLAGS],
    ['DETACH_DEVICE', P.DOMAIN_DETACH_DEVICE],
    ['DETACH_DEVICE_FLAGS', P.DOMAIN_DETACH_DEVICE_FLAGS],
    ['DETACH_DEVICE_ALIAS', P.DOMAIN_DETACH_DEVICE_ALIAS],
    ['UPDATE_DEVICE_FLAGS', P.DOMAIN_UPDATE_DEVICE_FLAGS],
  ] as const;

  test.each(changes)(
    '%s of a domain on overlays is passed on, and its devices are looked at again',
    async (...call) => {
      const [, procedure] = call;
      const { client, asked } = await watched();
      const args = { domain, rest: Buffer.from('0000000100000000', 'hex') };
      await client.call(procedure as Procedure<typeof args, void>, args);
      expect(overlaid.looked).toEqual([]);
      overlaid.uuids.add(domain.uuid);
      await client.call(procedure as Procedure<typeof args, void>, args);
      expect(asked).toEqual([procedure.number, procedure.number]);
      expect(overlaid.looked).toEqual([domain.uuid]);
    },
  );

  test('a domain on overlays that the upstream does not know is shown with them', async () => {
    const { client } = await watched();
    overlaid.uuids.add(domain.uuid);
    theUpstream.onFrame = ({ header }, socket) =>
      answer(socket, header, P.DOMAIN_GET_XML_DESC.result, { value: '<domain>base</domain>' });
    expect(await client.call(P.DOMAIN_GET_XML_DESC, { domain, flags: 0 })).toEqual({
      value: '<domain>overlay</domain>',
    });
    const inactive = await client.call(P.DOMAIN_GET_XML_DESC, { domain, flags: 2 });
    expect(inactive).toEqual({ value: '<domain>base</domain>' });
  });

  test('a reply that cannot be understood is an error of that call, and the connection goes on', async () => {
    const client = await opened();
    reverted.reasons.set(domain.uuid, 4);
    theUpstream.onFrame = ({ header }, socket) => answer(socket, header, nothing, undefined);
    const refused = await client.error(client.send(P.DOMAIN_GET_STATE, { domain, flags: 0 }));
    expect(refused.message).toContain('decode');
    await client.call(P.DOMAIN_RESUME, { domain });
  });

  test('a domain that was reverted has the reason that the upstream does not know', async () => {
    const client = await opened();
    theUpstream.onFrame = ({ header }, socket) =>
      answer(socket, header, P.DOMAIN_GET_STATE.result, { state: 1, reason: 3 });
    const state = () => client.call(P.DOMAIN_GET_STATE, { domain, flags: 0 });
    expect(await state()).toEqual({ state: 1, reason: 3 });
    reverted.reasons.set(domain.uuid, 4);
    expect(await state()).toEqual({ state: 1, reason: 4 });
  });

  test.each([P.DOMAIN_GET_XML_DESC, P.DOMAIN_GET_STATE])(
    'call $number passes unread while no domain is other than the upstream knows',
    async ({ number, args }) => {
      const client = await opened();
      const frame = encodeFrame({ procedure: number, type: TYPE.CALL, serial: 9 }, args, { domain, flags: 0 });
      const came: Buffer[] = [];
      upstreamSocket.removeAllListeners('data').on('data', (bytes) => came.push(bytes));
      client.socket.write(frame.subarray(0, -4));
      await until(() => Buffer.concat(came).equals(frame.subarray(0, -4)));
    },
  );

  test('a job of ours is shown and aborted here; any other is the upstream’s', async () => {
    const { client, asked } = await watched();
    const { DOMAIN_GET_JOB_INFO, DOMAIN_GET_JOB_STATS, DOMAIN_ABORT_JOB, DOMAIN_ABORT_JOB_FLAGS } = P;
    client.send(DOMAIN_GET_JOB_INFO, { domain });
    client.send(DOMAIN_GET_JOB_STATS, { domain, flags: 0 });
    client.send(DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 1 });
    await client.call(DOMAIN_ABORT_JOB, { domain });
    expect(asked.splice(0)).toEqual([163, 298, 442, 164]);
    let cancelled = 0;
    const times = { started: Date.now(), phase: 'disks', progress: undefined };
    const job = { operation: 'revert', snapshot: 's1', ...times } as const;
    snapshots.jobs.set(domain.uuid, { ...job, cancel: () => (cancelled += 1) });
    expect((await client.call(DOMAIN_GET_JOB_INFO, { domain })).type).toBe(2);
    expect((await client.call(DOMAIN_GET_JOB_STATS, { domain, flags: 0 })).params[0]).toMatchObject({ value: 7 });
    await client.call(DOMAIN_ABORT_JOB, { domain });
    expect(cancelled).toBe(1);
    await client.call(DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 0 });
    expect(cancelled).toBe(2);
    const postcopy = await client.error(client.send(DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 1 }));
    expect(postcopy.message).toContain('current job is not outgoing migration in post-copy mode');
    const unknown = await client.error(client.send(DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 6 }));
    expect(unknown.message).toContain('unsupported flags (0x6) in function virDomainAbortJobFlags');
    expect(cancelled).toBe(2);
    expect(asked).toEqual([]);
    await client.reply(client.send(DOMAIN_GET_JOB_STATS, { domain, flags: 1 }));
    expect(asked).toEqual([298]);
  });

  test('who may only look does not abort', async () => {
    theUpstream.onFrame = hospitable;
    using client = await RawClient.open(listener.path, 'xen:///system', CONNECT.RO);
    const asked: number[] = [];
    theUpstream.onFrame = ({ header }) => asked.push(header.procedure);
    const cancel = (): void => {
      throw new Error('aborted');
    };
    const job = {
      operation: 'create' as const,
      snapshot: 's1',
      started: 0,
      phase: 'saving',
      progress: undefined,
      cancel,
    };
    snapshots.jobs.set(domain.uuid, job);
    const refused = await client.error(client.send(P.DOMAIN_ABORT_JOB, { domain }));
    expect(refused.message).toBe('operation forbidden: read only access prevents virDomainAbortJob');
    const flagged = await client.error(client.send(P.DOMAIN_ABORT_JOB_FLAGS, { domain, flags: 0 }));
    expect(flagged.message).toBe('operation forbidden: read only access prevents virDomainAbortJobFlags');
    await client.call(P.DOMAIN_GET_JOB_INFO, { domain });
    expect(asked).toEqual([]);
  });

  test('capabilities come with what can be done here', async () => {
    const client = await opened();
    const { result } = P.CONNECT_GET_CAPABILITIES;
    const value = '<capabilities>\n  <guest>\n    <os_type>xen</os_type>\n  </guest>\n</capabilities>\n';
    theUpstream.onFrame = ({ header }, socket) => answer(socket, header, result, { value });
    const seen = await client.call(P.CONNECT_GET_CAPABILITIES, undefined);
    const features =
      "    <features>\n      <disksnapshot default='on' toggle='no'/>\n      <externalSnapshot/>\n    </features>\n";
    expect(seen.value).toBe(value.replace('  </guest>', `${features}  </guest>`));
  });
});
