/** Conversations of one JSON object per line, as QEMU's monitor and its guest agent hold them. */

import type { Socket } from 'node:net';

/** The lines that come in, empty ones left out, until the other end closes. */
export async function* linesOf(socket: Socket): AsyncGenerator<string, void> {
  socket.setEncoding('utf8');
  let rest = '';
  for await (const chunk of socket) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield line;
  }
}
