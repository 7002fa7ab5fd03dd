// node pipelining-clients.mjs SOCKET URI CLIENTS DOMAIN-UUID SNAPSHOT [DISK]: read-only clients that send SNAPSHOT_NUM_CHILDREN,
// or with DISK the questions about that, without waiting for replies, as fast as they are read from, until they are killed. Says
// `ready` once all are connected.

import { connect } from 'node:net';
import { join } from 'node:path';

const DIST = join(import.meta.dirname, '../../dist/rpc/wire');
const { encodeFrame, TYPE } = await import(`${DIST}/frames.js`);
const { PROCEDURES: P } = await import(`${DIST}/procedures.js`);

const [path, name, clients, uuid, snapshotName, disk] = process.argv.slice(2);
const RO = 1;
const CALLS = 3_000;

const encode = ({ number, args }, value, serial) =>
  encodeFrame({ procedure: number, type: TYPE.CALL, serial }, args, value);
const domain = { name: 'test', uuid, id: 1 };
const OF_DISKS = [P.DOMAIN_GET_BLOCK_INFO, P.DOMAIN_GET_BLOCK_JOB_INFO];
const question = (n) =>
  disk
    ? encode(OF_DISKS[n % 2], { domain, disk, flags: 0 }, n)
    : encode(P.DOMAIN_SNAPSHOT_NUM_CHILDREN, { snapshot: { name: snapshotName, domain }, flags: 0 }, n);
const calls = Buffer.concat(Array.from({ length: CALLS }, (_, n) => question(n + 2)));

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
