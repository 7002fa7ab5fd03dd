/**
 * Whatever bytes a client sends: the calls that libvirtd cuts out of what xlsnapd passes on are the calls that xlsnapd has
 * let through. The judge is the real libvirtd, which answers every call that it sees, and nothing else.
 */

import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { FrameSplitter } from '../../src/rpc/wire/frame-splitter.ts';
import { type FrameHeader, HEADER_BYTES, PROGRAM, TYPE } from '../../src/rpc/wire/frames.ts';
import { ALLOWED } from '../../src/rpc/wire/read-only/allowed.ts';
import { type SystemLibvirtd, startSystemLibvirtd } from '../support/daemons/system-libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { CALL_FRAMES, frameStream, pass, seenByLibvirtd } from '../support/fuzz/frame-streams.ts';
import { completed, readByLibvirtd } from '../support/fuzz/libvirtd-reads.ts';
import { numbers } from '../support/random.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

const URI = 'test:///default';
/** test:faults has more. */
const RUNS = Number(process.env.XLSNAP_STREAM_RUNS ?? 40);
const SETTLED_MS = 100;

let libvirtd: SystemLibvirtd;
let xlsnapd: Xlsnapd;
let relays: readonly Server[];
/** Of the newest connection to a libvirtd: serials and procedures of its calls, as they were passed; and of its replies. */
let passed: string[];
let answered: string[];

/** Hands bytes to libvirtd as they come, and notes the frames of both sides. */
async function relay(path: string, target: string): Promise<Server> {
  const server = createServer((from) => {
    const [calls, replies]: [string[], string[]] = [[], []];
    passed = calls;
    answered = replies;
    const to = new Socket().connect(target);
    for (const [source, sink, seen, type] of [
      [from, to, calls, TYPE.CALL],
      [to, from, replies, TYPE.REPLY],
    ] as const) {
      let current: FrameHeader | undefined;
      const note = new FrameSplitter({
        begin: (header) => {
          current = header;
          return 'pass';
        },
        whole: () => {},
        // A frame that never ends is no call: libvirtd waits for the rest.
        pass: (_bytes, last) => {
          if (last && current?.type === type) seen.push(`${current.serial}: ${current.program}/${current.procedure}`);
        },
      });
      source.on('data', (bytes) => {
        note.push(bytes);
        sink.write(bytes);
      });
      source.on('close', () => sink.destroy()).on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}

beforeAll(async () => {
  // One call of a client after the other: the last reply is then that to the last call.
  libvirtd = await startSystemLibvirtd(['max_client_requests = 1']);
  const path = join(libvirtd.directory, 'relay');
  relays = [await relay(path, libvirtd.socket), await relay(`${path}-ro`, libvirtd.readOnlySocket)];
  xlsnapd = await Xlsnapd.start({ args: ['--upstream', path] });
});

afterAll(async () => {
  await xlsnapd?.[Symbol.asyncDispose]();
  for (const server of relays ?? []) server.close();
  await libvirtd?.[Symbol.asyncDispose]();
});

/** A frame that is hardly one: of another kind, with another frame behind its arguments or in place of some. */
const frame = fc
  .record({
    seed: fc.constantFrom(...CALL_FRAMES),
    behind: fc.option(fc.constantFrom(...CALL_FRAMES, Buffer.alloc(4), Buffer.from([0]))),
    type: fc.constantFrom(0, 0, 0, 0, 0, 0, 3, 6, 1, 2, 4, 5, 9),
    program: fc.constantFrom(...Array(8).fill(PROGRAM.REMOTE), ...Object.values(PROGRAM), 1),
    status: fc.constantFrom(0, 0, 0, 0, 1, 2),
    changed: fc.option(fc.record({ at: fc.nat(), byte: fc.nat(255) })),
    counted: fc.boolean(),
  })
  .map(({ seed, behind, type, program, status, changed, counted }) => {
    const bytes = Buffer.concat([seed, behind ?? Buffer.alloc(0)]);
    if (counted) bytes.writeUInt32BE(bytes.length, 0);
    bytes.writeUInt32BE(program, 4);
    bytes.writeUInt32BE(type, 16);
    bytes.writeUInt32BE(status, 24);
    if (changed) {
      const at = HEADER_BYTES + (changed.at % Math.max(1, bytes.length - HEADER_BYTES));
      if (at < bytes.length) bytes[at] = changed.byte;
    }
    return bytes;
  });

const ALLOWED_NUMBERS = new Set<number>(Object.values(ALLOWED));

test.each([
  ['write', ''],
  ['read-only', '-ro'],
])(
  'libvirtd answers each call that was passed, and no other: %s',
  async (kind, suffix) => {
    let calls = 0;
    const property = fc.asyncProperty(
      fc.array(frame, { minLength: 1, maxLength: 12 }),
      fc.nat(40),
      async (frames, cut) => {
        using client = await RawClient.open(`${xlsnapd.socket}${suffix}`, URI);
        const [mine, theirs] = [passed, answered];
        // Each frame has a serial of its own, also one inside of another's bytes.
        frames.forEach((bytes, n) => {
          bytes.writeUInt32BE(100 + n, 20);
        });
        const stream = Buffer.concat(frames);
        client.socket.write(stream.subarray(0, cut));
        client.socket.write(stream.subarray(cut));
        for (const end = Date.now() + 5_000; Date.now() < end; await delay(SETTLED_MS / 4)) {
          if (client.socket.closed || mine.length <= theirs.length) break;
        }
        if (!client.socket.closed) await delay(SETTLED_MS);
        // A connection that was ended takes the last replies with it.
        if (client.socket.closed) expect(mine).toEqual(expect.arrayContaining(theirs));
        else expect([...theirs].sort()).toEqual([...mine].sort());
        calls += mine.length;
        if (kind !== 'read-only') return;
        for (const each of mine) {
          const [program, procedure] = (each.split(': ')[1] ?? '').split('/').map(Number);
          expect([each, program, ALLOWED_NUMBERS.has(procedure ?? -1)]).toEqual([each, PROGRAM.REMOTE, true]);
        }
      },
    );
    await fc.assert(property, { numRuns: RUNS });
    expect(calls).toBeGreaterThan(RUNS);
  },
  60_000 + RUNS * 1_000,
);

/** Of the streams of test/hostile/mutated-bytes.test.ts; test:faults has more. */
const JUDGED = Number(process.env.XLSNAP_JUDGED_STREAMS ?? 1_000);
const SEED = Number(process.env.XLSNAP_FUZZ_SEED ?? 4);
const AT_ONCE = 16;

test(
  'the model of libvirtd that judges a million streams reads as libvirtd itself',
  async () => {
    const seen = { judged: 0, calls: 0, ended: 0 };
    const one = async (n: number): Promise<void> => {
      const random = numbers(SEED * 10_000_000 + n);
      const readOnly = random(2) === 0;
      const { bytes } = await pass(frameStream(random), readOnly);
      const stream = completed(bytes);
      if (!stream) return;
      const { calls, ended } = await readByLibvirtd(readOnly ? libvirtd.readOnlySocket : libvirtd.socket, stream);
      const expected = [...seenByLibvirtd(stream)].sort();
      if (ended) expect([n, expected]).toEqual([n, expect.arrayContaining([...calls])]);
      else expect([n, [...calls].sort()]).toEqual([n, expected]);
      seen.judged += 1;
      seen.calls += calls.length;
      seen.ended += Number(ended);
    };
    for (let n = 0; n < JUDGED; n += AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, JUDGED - n) }, (_, k) => one(n + k)));
    }
    const { judged, calls, ended } = seen;
    process.stdout.write(
      `${judged} of ${JUDGED} streams judged by libvirtd, ${calls} calls, ${ended} connections ended\n`,
    );
    expect(judged - ended).toBeGreaterThan(JUDGED / 2);
    expect(calls).toBeGreaterThan(JUDGED / 2);
  },
  60_000 + JUDGED * 100,
);
