// Hands on what comes, both ways, unread: node forwarder.mjs LISTEN UPSTREAM

import { connect, createServer } from 'node:net';

const [listen, upstream] = process.argv.slice(2);

createServer((client) => {
  const server = connect(upstream);
  for (const [from, to] of [
    [client, server],
    [server, client],
  ]) {
    from.on('data', (bytes) => to.write(bytes));
    from.on('close', () => to.destroy());
    from.on('error', () => {});
  }
}).listen(listen);
