// A guest agent that means harm, at the socket of its channel: `node agent.mjs SOCKET KIND`. It answers the sync truly,
// unless that is what it attacks.

import { createServer } from 'node:net';

const [, , path, kind] = process.argv;

/** What it sends without end, in place of the answer that is waited for. */
const FLOODS = {
  'a line without an end': { at: 'freeze', text: 'x'.repeat(64 << 10) },
  'a line without an end, at the sync': { at: 'sync', text: 'x'.repeat(64 << 10) },
  'answers with another id': { at: 'sync', text: '\xff{"return":1}\n'.repeat(4000) },
  'empty lines': { at: 'freeze', text: '\n'.repeat(64 << 10) },
  events: { at: 'freeze', text: '{"event":"X"}\n'.repeat(4000) },
  'one very deep answer': { at: 'freeze', text: `{"return":${'['.repeat(4 << 20)}\n` },
};

const { at, text } = FLOODS[kind];
const bytes = Buffer.from(text, 'latin1');

function flood(socket) {
  while (!socket.destroyed && socket.write(bytes));
  socket.once('drain', () => flood(socket));
}

createServer((socket) => {
  let begun = '';
  socket.on('error', () => {});
  socket.setEncoding('latin1').on('data', (chunk) => {
    const lines = (begun + chunk).split('\n');
    begun = lines.pop();
    for (const line of lines) {
      const { execute, arguments: args } = JSON.parse(line.slice(line.indexOf('{')));
      if (execute.startsWith('guest-sync') ? at === 'sync' : at === 'freeze') flood(socket);
      else socket.write(Buffer.from(`\xff${JSON.stringify({ return: args?.id ?? 0 })}\n`, 'latin1'));
    }
  });
}).listen(path, () => process.stdout.write('listening\n'));
