/** Every combination of create's flags, and of revert's and delete's, against the real qemu driver. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decodePayload, STATUS } from '../../src/rpc/wire/frames.ts';
import { remoteError } from '../../src/rpc/wire/messages.ts';
import { PROCEDURES } from '../../src/rpc/wire/procedures.ts';
import { type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';
import { virsh } from '../support/virsh.ts';

const UUID = '11111111-2222-3333-4444-777777777777';
const DOMAIN = { name: 'd', uuid: UUID, id: -1 };
/** Refused by every driver, once its flags pass. */
const DOCUMENT = '<x/>';
/** One more bit than there are flags. */
const CREATE_FLAGS = 0x800;

let libvirtd: Libvirtd | undefined;
let xlsnapd: Xlsnapd | undefined;
let clients: readonly RawClient[] = [];

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  xlsnapd = await Xlsnapd.start();
  clients = [await RawClient.open(libvirtd.socket, 'qemu:///session'), await RawClient.open(xlsnapd.socket)];
  for (const [uri, type] of [
    [`qemu+unix:///session?socket=${libvirtd.socket}`, 'qemu'],
    [xlsnapd.uri, 'xen'],
  ] as const) {
    const xml = join(libvirtd.directory, `${type}.xml`);
    await writeFile(
      xml,
      `<domain type='${type}'><name>d</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory>
       <os><type arch='x86_64'>hvm</type></os></domain>`,
    );
    expect((await virsh(uri, 'define', xml)).stderr).toBe('');
  }
});

afterAll(async () => {
  for (const client of clients) client[Symbol.dispose]();
  await xlsnapd?.[Symbol.asyncDispose]();
  await libvirtd?.[Symbol.asyncDispose]();
});

/** What each server says, but for the name of its driver's function. */
async function answers(send: (client: RawClient) => number): Promise<readonly [qemu: string, ours: string]> {
  const [qemu, ours] = await Promise.all(
    clients.map(async (client) => {
      const { header, bytes } = await client.reply(send(client));
      if (header.status !== STATUS.ERROR) return 'done';
      return decodePayload(remoteError, bytes).message?.replace(/in function \w+$/, 'in function');
    }),
  );
  return [qemu ?? '', ours ?? ''];
}

test('create', async () => {
  for (let flags = 0; flags < CREATE_FLAGS; flags++) {
    const [qemu, ours] = await answers((client) =>
      client.send(PROCEDURES.DOMAIN_SNAPSHOT_CREATE_XML, { domain: DOMAIN, xml: DOCUMENT, flags }),
    );
    expect([flags, ours]).toEqual([flags, qemu]);
  }
});

test.each([
  ['revert', PROCEDURES.DOMAIN_REVERT_TO_SNAPSHOT, 0x20],
  ['delete', PROCEDURES.DOMAIN_SNAPSHOT_DELETE, 0x10],
] as const)('%s', async (_name, procedure, limit) => {
  for (let flags = 0; flags < limit; flags++) {
    const [qemu, ours] = await answers((client) =>
      client.send(procedure, { snapshot: { name: 'nope', domain: DOMAIN }, flags }),
    );
    expect([flags, ours]).toEqual([flags, qemu]);
  }
});

const P = PROCEDURES;
const SNAPSHOT = { name: 'nope', domain: DOMAIN };

test.each<[string, (client: RawClient, flags: number) => number]>([
  ['num', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_NUM, { domain: DOMAIN, flags })],
  ['listNames', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_LIST_NAMES, { domain: DOMAIN, maxnames: 9, flags })],
  ['listAll', (client, flags) => client.send(P.DOMAIN_LIST_ALL_SNAPSHOTS, { domain: DOMAIN, needResults: 1, flags })],
  ['lookup', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_LOOKUP_BY_NAME, { domain: DOMAIN, name: 'nope', flags })],
  ['hasCurrent', (client, flags) => client.send(P.DOMAIN_HAS_CURRENT_SNAPSHOT, { domain: DOMAIN, flags })],
  ['current', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_CURRENT, { domain: DOMAIN, flags })],
  ['getXMLDesc', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_GET_XML_DESC, { snapshot: SNAPSHOT, flags })],
  ['getParent', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_GET_PARENT, { snapshot: SNAPSHOT, flags })],
  ['numChildren', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_NUM_CHILDREN, { snapshot: SNAPSHOT, flags })],
  [
    'listChildrenNames',
    (client, flags) => client.send(P.DOMAIN_SNAPSHOT_LIST_CHILDREN_NAMES, { snapshot: SNAPSHOT, maxnames: 9, flags }),
  ],
  [
    'listAllChildren',
    (client, flags) => client.send(P.DOMAIN_SNAPSHOT_LIST_ALL_CHILDREN, { snapshot: SNAPSHOT, needResults: 1, flags }),
  ],
  ['isCurrent', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_IS_CURRENT, { snapshot: SNAPSHOT, flags })],
  ['hasMetadata', (client, flags) => client.send(P.DOMAIN_SNAPSHOT_HAS_METADATA, { snapshot: SNAPSHOT, flags })],
])('each bit of %s', async (_name, send) => {
  for (let bit = 0; bit < 32; bit++) {
    const [qemu, ours] = await answers((client) => send(client, 2 ** bit));
    expect([bit, ours]).toEqual([bit, qemu]);
  }
});
