// Clients that connect and say nothing, again as soon as they are dropped: `node idle-clients.mjs SOCKET COUNT UID`, started as root.

import { connect } from 'node:net';
import { become } from './become.mjs';

const AGAIN_MS = 50;

const [, , path, count, uid] = process.argv;
become(Number(uid));

let connected = 0;

function stay() {
  const socket = connect(path, () => {
    connected += 1;
    if (connected === Number(count)) process.stdout.write('connected\n');
  });
  socket.on('error', () => {}).on('close', () => setTimeout(stay, AGAIN_MS));
  socket.resume();
}

for (let n = 0; n < Number(count); n += 1) stay();
