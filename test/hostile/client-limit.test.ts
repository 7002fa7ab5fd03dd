/** More clients than a daemon is to serve: the others, and its own files, have what they need. */

import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { PROCEDURES as P } from '../../src/rpc/wire/procedures.ts';
import { startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { Attacker } from '../support/hostile/attacker.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

test('clients beyond the limit of a socket are dropped; the other socket, and snapshots, go on', async () => {
  await using xlsnapd = await Xlsnapd.start({ args: ['--max-clients', '5'] });
  const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(`${xlsnapd.socket}-ro`)));
  const beyond = connect(`${xlsnapd.socket}-ro`).on('error', () => {});
  await once(beyond.resume(), 'close');
  expect(xlsnapd.log).toContain('Too many active clients (5), dropping connection from uid');
  await xlsnapd.ok('snapshot-create-as', 'test', 's1');
  await xlsnapd.ok('snapshot-revert', 'test', 's1');
  for (const client of clients) client[Symbol.dispose]();
  for (let tries = 0; ; tries += 1) {
    const again = await RawClient.open(`${xlsnapd.socket}-ro`).catch(() => undefined);
    again?.[Symbol.dispose]();
    if (again) break;
    expect(tries).toBeLessThan(100);
  }
});

test('two users who connect and never authenticate keep out nobody', async () => {
  await using xlsnapd = await Xlsnapd.start({ args: ['--max-clients', '6', '--auth', 'polkit'] });
  await chmod(xlsnapd.home, 0o755);
  await using _one = await Attacker.start('idle-clients.mjs', xlsnapd.socket, '6', '65533');
  await using _other = await Attacker.start('idle-clients.mjs', xlsnapd.socket, '6', '65534');
  await xlsnapd.logged('dropping connection from uid 6553');
  const clients: RawClient[] = [];
  for (let n = 0; n < 6; n += 1) clients.push(await RawClient.open(xlsnapd.socket));
  await setTimeout(500);
  for (const client of clients) expect(await client.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
  expect(xlsnapd.log).toContain('which has not authenticated: its place is needed');
  for (const client of clients) client[Symbol.dispose]();
  await xlsnapd.ok('snapshot-create-as', 'test', 's1');
});

/** max_anonymous_clients of libvirtd.conf. */
const ANONYMOUS_MAX = 20;

test('clients who connect and say nothing do not use up the places of libvirtd for clients that it has not let in', async () => {
  await using libvirtd = await startLibvirtd({ auth: 'polkit' });
  const args = ['--upstream', libvirtd.socket, '--upstream-uri', 'test:///default'];
  await using xlsnapd = await Xlsnapd.start({ connect: 'xen:///system', args: [...args, '--auth', 'none'] });
  const silent = Array.from({ length: ANONYMOUS_MAX + 5 }, () => connect(xlsnapd.socket).on('error', () => {}));
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  // The last of them is accepted before this one.
  using client = await RawClient.open(xlsnapd.socket);
  expect(await client.call(P.CONNECT_GET_TYPE, undefined)).toEqual({ value: 'TEST' });
  for (const socket of silent) socket.destroy();
});
