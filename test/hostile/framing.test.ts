/** Frames that xlsnapd and libvirtd might read differently: a read-only client must not gain by them, nor a rule be avoided. */

import { rename } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Codec, struct, uint } from '../../src/rpc/wire/codec.ts';
import { encodeFrame, PROGRAM, STATUS, TYPE } from '../../src/rpc/wire/frames.ts';
import { PROCEDURES as P, type Procedure } from '../../src/rpc/wire/procedures.ts';
import { type SystemLibvirtd, startSystemLibvirtd } from '../support/daemons/system-libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';
import { virsh } from '../support/virsh.ts';

const URI = 'test:///default';
const XML = "<domain type='test'><name>owned</name><memory>1024</memory><os><type>hvm</type></os></domain>";

let libvirtd: SystemLibvirtd;
let xlsnapd: Xlsnapd;
let keeper: RawClient;

beforeAll(async () => {
  libvirtd = await startSystemLibvirtd();
  // The test driver's domains live as long as somebody is connected.
  keeper = await RawClient.open(libvirtd.socket, URI);
  xlsnapd = await Xlsnapd.start({ args: ['--upstream', libvirtd.socket] });
});

afterAll(async () => {
  await xlsnapd?.[Symbol.asyncDispose]();
  keeper?.[Symbol.dispose]();
  await libvirtd?.[Symbol.asyncDispose]();
});

const names = async (): Promise<readonly string[]> => {
  const { domains } = await keeper.call(P.CONNECT_LIST_ALL_DOMAINS, { needResults: 1, flags: 0 });
  return domains.map(({ name }) => name);
};

/** A codec whose values are written as `codec` does, with something behind. */
const followed = <T>(codec: Codec<T>, bytes: Buffer): Codec<T> => ({
  ...codec,
  write: (writer, value) => {
    codec.write(writer, value);
    writer.opaque(bytes);
  },
});

/** A string on the wire, as its bytes are. */
const rawString: Codec<Buffer> = {
  max: 1024,
  write: (writer, bytes) => {
    writer.uint(bytes.length);
    writer.opaque(bytes);
  },
  read: (reader) => reader.opaque(reader.uint()),
};

const open = P.CONNECT_OPEN;
const name = Buffer.from(`${URI}\0behind`);
const openRaw = {
  number: open.number,
  args: struct({ present: uint, name: rawString, flags: uint }),
  result: open.result,
};

describe('a read-only client is read-only, however it opens', () => {
  test.each([
    ['as clients do', (client: RawClient) => client.send(open, { name: URI, flags: 0 })],
    [
      'with bytes behind',
      (client: RawClient) =>
        client.send({ ...open, args: followed(open.args, Buffer.alloc(4)) }, { name: URI, flags: 0 }),
    ],
    ['with a NUL in the name', (client: RawClient) => client.send(openRaw, { present: 1, name, flags: 0 })],
    [
      'with any other word for true',
      (client: RawClient) => client.send(openRaw, { present: 0x100, name: Buffer.from(URI), flags: 0 }),
    ],
  ])('%s', async (_how, send) => {
    using client = new RawClient(`${xlsnapd.socket}-ro`);
    await client.call(P.AUTH_LIST, undefined);
    expect((await client.reply(send(client))).header.status).toBe(STATUS.OK);
    for (const [procedure, args, call] of [
      [P.DOMAIN_DEFINE_XML, { xml: XML }, 'virDomainDefineXML'],
      [
        P.DOMAIN_SUSPEND,
        { domain: { name: 'test', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: 1 } },
        'virDomainSuspend',
      ],
    ] as const) {
      const refused = await client.error(client.send(procedure as Procedure<unknown, unknown>, args));
      expect(refused).toMatchObject({ code: 29, message: `operation forbidden: read only access prevents ${call}` });
    }
    expect(await names()).toEqual(['test']);
  });

  test('and opens again', async () => {
    using client = await RawClient.open(`${xlsnapd.socket}-ro`, URI);
    client.send(open, { name: URI, flags: 0 });
    const define = await client.error(client.send(P.DOMAIN_DEFINE_XML, { xml: XML }));
    expect(define.code).not.toBe(0);
    expect(await names()).toEqual(['test']);
  });

  test('only on the upstream’s read-only socket, as it is when the client connects', async () => {
    await rename(libvirtd.readOnlySocket, `${libvirtd.readOnlySocket}.away`);
    using refused = new RawClient(`${xlsnapd.socket}-ro`);
    const { message } = await refused.error(refused.send(P.AUTH_LIST, undefined));
    expect(message).toBe(`Failed to connect socket to '${libvirtd.readOnlySocket}': No such file or directory`);
    await refused.closed();
    using write = await RawClient.open(xlsnapd.socket, URI);
    expect(await write.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
    await rename(`${libvirtd.readOnlySocket}.away`, libvirtd.readOnlySocket);
    using client = await RawClient.open(`${xlsnapd.socket}-ro`, URI);
    expect(await client.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
  });
});

describe('calls that hide in the bytes of another message', () => {
  const hidden = Buffer.concat([
    encodeFrame({ procedure: open.number, type: TYPE.CALL, serial: 70 }, open.args, { name: URI, flags: 0 }),
    encodeFrame({ procedure: P.DOMAIN_DEFINE_XML.number, type: TYPE.CALL, serial: 71 }, P.DOMAIN_DEFINE_XML.args, {
      xml: XML,
    }),
  ]);
  const fds: Codec<void> = { max: 4, write: (writer) => writer.uint(32), read: () => {} };
  const kinds = Object.entries({ ...PROGRAM, NONE: 0x12345678 }).flatMap(([program, number]) =>
    [TYPE.REPLY, TYPE.MESSAGE, TYPE.CALL_WITH_FDS, TYPE.REPLY_WITH_FDS, 7, 255].map(
      (type) => [program, type, number] as const,
    ),
  );

  test.each(kinds)('of program %s and type %i end the connection', async (_program, type, program) => {
    for (const socket of [xlsnapd.socket, `${xlsnapd.socket}-ro`]) {
      using client = new RawClient(socket);
      await client.call(P.AUTH_LIST, undefined);
      client.socket.write(
        Buffer.concat([encodeFrame({ program, procedure: 1, type, serial: 9 }, fds, undefined), hidden]),
      );
      await client.closed();
      expect(client.frames).toEqual([]);
    }
    expect(await names()).toEqual(['test']);
  });
});

test('a call with a rule here is decoded as leniently as by libvirtd, or refused: a domain keeps its snapshots', async () => {
  using client = await RawClient.open(xlsnapd.socket, URI);
  const { domain } = await client.call(P.DOMAIN_DEFINE_XML, { xml: XML.replace('owned', 'kept') });
  const xml = `<domainsnapshot><name>s1</name><state>shutoff</state><creationTime>1</creationTime>${XML.replace(
    '<name>owned</name>',
    `<name>kept</name><uuid>${domain.uuid}</uuid>`,
  )}</domainsnapshot>`;
  const REDEFINE = 1;
  await client.call(P.DOMAIN_SNAPSHOT_CREATE_XML, { domain, xml, flags: REDEFINE });
  const refused = 'Requested operation is not valid: cannot delete inactive domain with 1 snapshots';
  for (const procedure of [P.DOMAIN_UNDEFINE, P.DOMAIN_UNDEFINE_FLAGS] as const) {
    const { number } = procedure;
    const args = followed(procedure.args as Codec<unknown>, Buffer.alloc(8));
    const call = { number, args, result: procedure.result as Codec<unknown> };
    expect((await client.error(client.send(call, { domain, flags: 0 }))).message).toBe(refused);
    const nul = { ...domain, name: 'kept\0other' };
    expect(
      (await client.error(client.send(procedure as Procedure<unknown, void>, { domain: nul, flags: 0 }))).message,
    ).toBe(refused);
  }
  const cut = encodeFrame(
    { procedure: P.DOMAIN_UNDEFINE.number, type: TYPE.CALL, serial: 500 },
    P.DOMAIN_UNDEFINE.args,
    { domain },
  );
  client.socket.write(Buffer.concat([Buffer.from([0, 0, 0, cut.length - 4]), cut.subarray(4, -4)]));
  expect((await client.error(500)).message).toBe('Unable to decode message payload');
  expect((await virsh(xlsnapd.uri, 'snapshot-list', 'kept', '--name')).stdout.trim()).toBe('s1');
  await xlsnapd.ok('undefine', 'kept', '--snapshots-metadata');
});

test.each([true, false])(
  'before it opens, a client may authenticate and open, and nothing else (read-only: %p)',
  async (readOnly) => {
    using client = new RawClient(readOnly ? `${xlsnapd.socket}-ro` : xlsnapd.socket);
    await client.call(P.AUTH_LIST, undefined);
    await client.call(P.CONNECT_SUPPORTS_FEATURE, { feature: 10 });
    for (const procedure of [P.CONNECT_GET_TYPE, P.CONNECT_REGISTER_CLOSE_CALLBACK, P.CONNECT_CLOSE]) {
      const refused = await client.error(client.send(procedure as Procedure<void, unknown>, undefined));
      expect(refused.message).toBe('internal error: hypervisor connection not open');
    }
  },
);
