import { describe, expect, test } from '@jest/globals';
import { FrameSplitter, type Wanted } from '../../../../src/rpc/wire/frame-splitter.ts';
import { decodeHeader, FRAME_MAX, HEADER_BYTES, TYPE } from '../../../../src/rpc/wire/frames.ts';
import { rpcFixture, rpcFixtureNames } from '../../../support/rpc/fixtures.ts';

/** Splits `chunks` and says what came out: whole frames, and passed bytes joined frame by frame. */
function split(chunks: readonly Buffer[], wanted: (procedure: number) => Wanted) {
  const out: { readonly how: Wanted; readonly bytes: string }[] = [];
  const begun: number[] = [];
  let passing: Buffer[] = [];
  const splitter = new FrameSplitter({
    begin: ({ procedure }) => {
      if (passing.length > 0) throw new Error('a frame begins inside another');
      begun.push(procedure);
      return wanted(procedure);
    },
    whole: ({ length }, frame) => {
      if (frame.length !== length) throw new Error(`${frame.length} bytes of a frame of ${length}`);
      out.push({ how: 'whole', bytes: frame.toString('hex') });
    },
    pass: (bytes, last) => {
      if (bytes.length === 0) throw new Error('nothing is passed');
      passing.push(bytes);
      if (!last) return;
      out.push({ how: 'pass', bytes: Buffer.concat(passing).toString('hex') });
      passing = [];
    },
  });
  for (const chunk of chunks) splitter.push(chunk);
  expect(passing).toEqual([]);
  return { out, begun };
}

const fixtures = rpcFixtureNames.map((name) => ({ name, bytes: rpcFixture(name) }));
const stream = Buffer.concat(fixtures.map(({ bytes }) => bytes));
/** Every third frame whole, every third passed, every third dropped. */
const mixed = (): ((procedure: number) => Wanted) => {
  let count = 0;
  return () => (['whole', 'pass', 'drop'] as const)[count++ % 3] ?? 'drop';
};
const everyByte = Array.from(stream, (byte) => Buffer.of(byte));
const withoutDummies = (bytes: Buffer): string => bytes.subarray(0, bytes.readUInt32BE(0)).toString('hex');
const expected = fixtures.flatMap(({ bytes }, index) =>
  index % 3 === 2
    ? []
    : [
        index % 3 === 0
          ? { how: 'whole', bytes: withoutDummies(bytes) }
          : { how: 'pass', bytes: bytes.toString('hex') },
      ],
);

describe('a stream of every fixture', () => {
  test('comes out frame by frame when it arrives at once', () => {
    const { out, begun } = split([stream], mixed());
    expect(out).toEqual(expected);
    expect(begun).toEqual(fixtures.map(({ bytes }) => bytes.readInt32BE(12)));
  });

  test('comes out the same when any frame of it is cut in two anywhere', () => {
    let from = 0;
    for (const { bytes } of fixtures) {
      const to = from + bytes.length;
      const [before, after] = [stream.subarray(0, from), stream.subarray(to)];
      for (let at = 0; at <= bytes.length; at += 1) {
        const chunks = [bytes.subarray(0, at), Buffer.concat([bytes.subarray(at), rpcFixture('keepalive-ping')])];
        const said = split(chunks, () => 'whole').out.map((frame) => frame.bytes);
        expect(said).toEqual([withoutDummies(bytes), rpcFixture('keepalive-ping').toString('hex')]);
      }
      expect(split([before, bytes, after], mixed()).out).toEqual(expected);
      from = to;
    }
  });

  test('comes out the same byte by byte', () => {
    expect(split(everyByte, mixed()).out).toEqual(expected);
  });
});

test('a frame is passed on as it comes, in views of the chunks', () => {
  const frame = rpcFixture('domain-snapshot-create-xml');
  const views: Buffer[] = [];
  const splitter = new FrameSplitter({ begin: () => 'pass', whole: () => {}, pass: (bytes) => views.push(bytes) });
  const [first, second] = [frame.subarray(0, 40), frame.subarray(40)];
  splitter.push(first);
  expect(views).toEqual([first]);
  splitter.push(second);
  expect(views.every((view) => view.buffer === frame.buffer)).toBe(true);
});

test('a chunk may be used again: nothing but what is passed refers to it', () => {
  const frame = rpcFixture('domain-snapshot-create-xml');
  for (const at of [0, 5, 27, 28, 40, frame.length - 1]) {
    let seen: Buffer | undefined;
    const splitter = new FrameSplitter({
      begin: () => 'whole',
      whole: (_header, bytes) => (seen = bytes),
      pass: () => {},
    });
    for (const piece of [frame.subarray(0, at), frame.subarray(at)]) {
      const chunk = Buffer.from(piece);
      splitter.push(chunk);
      chunk.fill(0xee);
    }
    expect(seen?.equals(frame)).toBe(true);
  }
});

describe('file descriptors', () => {
  const withFds = rpcFixture('reply-with-files');

  test('each have a byte after the frame, which is passed with it and left off a whole one', () => {
    const next = rpcFixture('domain-snapshot-delete-reply');
    for (let at = 0; at < withFds.length; at += 1) {
      const chunks = [withFds.subarray(0, at), Buffer.concat([withFds.subarray(at), next])];
      expect(split(chunks, () => 'pass').out.map(({ bytes }) => bytes)).toEqual([
        withFds.toString('hex'),
        next.toString('hex'),
      ]);
      expect(split(chunks, () => 'whole').out[0]?.bytes).toBe(withoutDummies(withFds));
    }
  });

  test('are 32 at the most', () => {
    const many = Buffer.from(withFds);
    many.writeUInt32BE(33, HEADER_BYTES);
    expect(() => split([many], () => 'drop')).toThrow('33 file descriptors with a message, 32 are the most');
  });

  test('have a count, for which there must be room', () => {
    const short = Buffer.alloc(32);
    short.writeUInt32BE(28, 0);
    short.writeUInt32BE(TYPE.REPLY_WITH_FDS, 16);
    expect(() => split([short], () => 'drop')).toThrow('packet of 28 bytes is too small, want 32');
  });
});

describe('the length', () => {
  const header = (length: number): Buffer => {
    const bytes = Buffer.from(rpcFixture('domain-snapshot-delete-reply'));
    bytes.writeUInt32BE(length, 0);
    return bytes;
  };

  test.each([0, 3, 27])('of %d is too small for a header', (length) => {
    expect(() => split([header(length)], () => 'pass')).toThrow(`packet of ${length} bytes is too small, want 28`);
  });

  test('of 16 MiB and its own word is the largest', () => {
    expect(decodeHeader(header(FRAME_MAX)).length).toBe(16 * 1024 * 1024 + 4);
    expect(() => split([header(FRAME_MAX + 1)], () => 'pass')).toThrow('is too large, want 16777220');
    const largest = [header(FRAME_MAX), Buffer.alloc(FRAME_MAX - HEADER_BYTES - 1), Buffer.alloc(1)];
    expect(split(largest, () => 'whole').out[0]?.bytes.length).toBe(FRAME_MAX * 2);
  });

  test('that is only claimed costs no memory', () => {
    const before = process.memoryUsage().arrayBuffers;
    const splitters = Array.from({ length: 100 }, () => {
      const splitter = new FrameSplitter({ begin: () => 'whole', whole: () => {}, pass: () => {} });
      splitter.push(header(FRAME_MAX));
      return splitter;
    });
    expect(splitters.length).toBe(100);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });
});
