// A device model that was broken into, at its monitor's socket: `node monitor.mjs PATH REAL KIND COMMAND`. It passes everything on to
// the real monitor, until COMMAND comes ('greeting': at once).

import { connect, createServer } from 'node:net';

const [, , path, real, kind, command] = process.argv;

/** What it sends in place of an answer; `ends`: once, and then nothing. */
const LIES = {
  'a line without an end': { text: 'x'.repeat(64 << 10) },
  'answers with another id': { text: '{"return": {}, "id": 4711}\r\n'.repeat(2_000) },
  events: { text: '{"event": "STOP", "data": {}}\r\n'.repeat(2_000) },
  'one very deep answer': { text: `{"return":${'['.repeat(4 << 20)}\r\n`, ends: true },
  'what is not JSON': { text: 'HTTP/1.1 200 OK\r\n', ends: true },
  'an answer of another shape': { text: '{"return": {"nodes": null}, "id": ID}\r\n', ends: true },
  'an error without words': { text: '{"error": "no", "id": ID}\r\n', ends: true },
  'an error with an escape sequence': {
    text: `{"error": {"desc": "\\u001b]0;mine\\u0007\\u202e"}, "id": ID}\r\n`,
    ends: true,
  },
  'the end of the connection': { text: '', closes: true },
};
const { text, ends = false, closes = false } = LIES[kind];

function lie(socket, id = 0) {
  process.stdout.write('lied\n');
  if (closes) return socket.destroy();
  const bytes = Buffer.from(text.replaceAll('ID', `${id}`), 'latin1');
  if (ends) return void socket.write(bytes);
  const flood = () => {
    while (!socket.destroyed && socket.write(bytes));
    socket.once('drain', flood);
  };
  flood();
}

createServer((client) => {
  client.on('error', () => {});
  if (command === 'greeting') return lie(client);
  const monitor = connect(real);
  monitor.on('error', () => {}).on('data', (bytes) => client.write(bytes));
  monitor.on('close', () => client.destroy());
  client.on('close', () => monitor.destroy());
  let begun = '';
  client.on('data', (bytes) => {
    const lines = (begun + bytes).split('\n');
    begun = lines.pop();
    for (const line of lines) {
      const { execute, id } = JSON.parse(line);
      if (execute === command) lie(client, id);
      else monitor.write(`${line}\n`);
    }
  });
}).listen(path, () => process.stdout.write('listening\n'));
