/** What a guest's agent or a device model might send in place of lines of JSON. */

import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { parseReply, SocketLines } from '../../../src/disks/qemu/socket-lines.ts';

type Random = (limit: number) => number;

const ANSWERS = [
  '{"QMP": {"version": {"qemu": {"micro": 2, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}\r\n',
  '{"return": {}, "id": 1}\r\n',
  '{"return": [{"node-name": "xvda-qcow2", "drv": "qcow2", "file": "/d/a", "image": {"virtual-size": 1}}], "id": 2}\r\n',
  '{"error": {"class": "GenericError", "desc": "no"}, "id": 3}\r\n',
  '{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}\r\n',
  '\xff{"return": 12345}\n',
  '{"return": -1}\n',
];
const PIECES = [
  '[',
  '{',
  '"',
  '\\',
  ',',
  ':',
  '\0',
  '\xff',
  '\n',
  '\r\n',
  '1e999',
  'null',
  '{"id":',
  '__proto__',
  '\\ud800',
];

/** A conversation's bytes in pieces. */
export function answers(random: Random): readonly Buffer[] {
  const text = Array.from({ length: 1 + random(8) }, () => {
    const answer = ANSWERS[random(ANSWERS.length)] ?? '';
    const at = random(answer.length);
    const piece = (PIECES[random(PIECES.length)] ?? '').repeat(random(20) === 0 ? 2_000 : 1 + random(3));
    switch (random(4)) {
      case 0:
        return answer;
      case 1:
        return answer.slice(0, at) + piece + answer.slice(at);
      case 2:
        return answer.slice(0, at) + piece;
      default:
        return answer.slice(at);
    }
  }).join('');
  const bytes = Buffer.from(text, 'latin1');
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = [1, 7, 1 + random(100), bytes.length][random(4)] ?? 1;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Reads them as QMP's reader does. Rejects for what it does not expect of a reply. */
export async function readAnswers(pieces: readonly Buffer[]): Promise<void> {
  await using lines = new SocketLines(Readable.from(pieces) as unknown as Socket);
  for (let line = await lines.next(); line; line = await lines.next()) {
    try {
      parseReply(line);
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    }
  }
}
