/** More clients than a daemon is to serve: the others, and its own files, have what they need. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
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
