// node pipelining-clients.mjs SOCKET URI CLIENTS DOMAIN-UUID SNAPSHOT: read-only clients that send SNAPSHOT_NUM_CHILDREN
// without waiting for replies, as fast as they are read from, until they are killed. Says `ready` once all are connected.

import { connect } from 'node:net';
import { join } from 'node:path';

const DIST = join(import.meta.dirname, '../../dist/rpc/wire');
const { encodeFrame, TYPE } = await import(`${DIST}/frames.js`);
const { PROCEDURES: P } = await import(`${DIST}/procedures.js`);

const [path, name, clients, uuid, snapshotName] = process.argv.slice(2);
const RO = 1;
const CALLS = 3_000;

const encode = ({ number, args }, value, serial) =>
  encodeFrame({ procedure: number, type: TYPE.CALL, serial }, args, value);
const snapshot = { name: snapshotName, domain: { name: 'test', uuid, id: 1 } };
const calls = Buffer.concat(
  Array.from({ length: CALLS }, (_, n) => encode(P.DOMAIN_SNAPSHOT_NUM_CHILDREN, { snapshot, flags: 0 }, n + 2)),
);

async function attack() {
  const socket = connect(path);
  const reply = () => new Promise((resolve) => socket.once('data', resolve));
  socket.write(encode(P.AUTH_LIST, undefined, 0));
  await reply();
  socket.write(encode(P.CONNECT_OPEN, { name, flags: RO }, 1));
  await reply();
  socket.on('error', () => process.exit()).resume();
  const send = () => socket.write(calls, send);
  send();
}

await Promise.all(Array.from({ length: Number(clients) }, attack));
process.stdout.write('ready\n');
