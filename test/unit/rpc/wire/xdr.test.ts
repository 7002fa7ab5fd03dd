import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  bool,
  type Codec,
  decode,
  hyper,
  int,
  list,
  nothing,
  optional,
  string,
  struct,
  uhyper,
  uint,
  uuid,
} from '../../../../src/rpc/wire/codec.ts';
import { STRING_MAX, XdrReader, XdrWriter } from '../../../../src/rpc/wire/xdr.ts';

function encode<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.write(writer, value);
  return writer.bytes();
}

const hex = <T>(codec: Codec<T>, value: T): string => encode(codec, value).toString('hex');
const unhex = <T>(codec: Codec<T>, bytes: string): T => decode(codec, Buffer.from(bytes, 'hex'));
const UNDECODABLE = expect.objectContaining({
  code: 'RPC',
  message: 'Unable to decode message payload',
  fields: expect.objectContaining({ code: 39, domain: 7 }),
});

describe('bytes', () => {
  test('numbers are big-endian, of four or eight bytes', () => {
    expect(hex(int, -2)).toBe('fffffffe');
    expect(hex(uint, 0x80000001)).toBe('80000001');
    expect(hex(hyper, -1n)).toBe('ffffffffffffffff');
    expect(hex(uhyper, 0x8000000000000000n)).toBe('8000000000000000');
    expect(hex(bool, true)).toBe('00000001');
  });

  test('strings have their length in bytes and are padded to four', () => {
    expect(hex(string, '')).toBe('00000000');
    expect(hex(string, 'four')).toBe('00000004666f7572');
    expect(hex(string, 'ß')).toBe('00000002c39f0000');
  });

  test('a UUID is sixteen bytes, an absent value one word, a list its count and its items', () => {
    expect(hex(uuid, '6695eb01-f6a4-8304-79aa-97f2502e193f')).toBe('6695eb01f6a4830479aa97f2502e193f');
    expect(hex(optional(int), null)).toBe('00000000');
    expect(hex(optional(int), 7)).toBe('0000000100000007');
    expect(hex(list(int), [1, 2])).toBe('000000020000000100000002');
    expect(hex(nothing, undefined)).toBe('');
  });

  test('any non-zero word is true, as in C', () => {
    expect(unhex(bool, '00000100')).toBe(true);
    expect(unhex(optional(int), 'ffffffff00000007')).toBe(7);
  });
});

describe('what libvirt ignores is ignored', () => {
  test.each([
    ['bytes after the value', int, '0000000100', 1],
    ['a string from its first NUL on', string, '0000000361006200', 'a'],
    ['padding that is not zero', string, '0000000161ffffff', 'a'],
  ] as readonly [string, Codec<unknown>, string, unknown][])('%s', (_what, codec, bytes, value) => {
    expect(unhex(codec, bytes)).toBe(value);
  });
});

describe('what is refused', () => {
  test.each([
    ['a number cut short', int, '000000'],
    ['a long number cut short', uhyper, '00000000'],
    ['a string longer than the message', string, '00000005666f7572'],
    ['a string without its padding', string, '00000001ff'],
    ['a string past 4 MiB', string, '00400001'],
    ['a list longer than the message', list(int), '0000000200000001'],
    ['a list past its limit', list(int, 1), '000000020000000100000002'],
    ['a count of four milliards', list(nothing), 'ffffffff'],
    ['a UUID cut short', uuid, '6695eb01'],
  ] as readonly [string, Codec<unknown>, string][])('%s', (_what, codec, bytes) => {
    expect(() => unhex(codec, bytes)).toThrow(UNDECODABLE);
  });

  test('the longest string goes both ways, one byte more goes neither', () => {
    const longest = 'x'.repeat(STRING_MAX);
    expect(decode(string, encode(string, longest))).toBe(longest);
    expect(() => encode(string, `${longest}x`)).toThrow('Unable to encode message payload');
    expect(() => encode(list(int, 2), [1, 2, 3])).toThrow('Unable to encode message payload');
  });
});

describe('whatever is written', () => {
  const text = fc.string({ unit: 'grapheme' }).filter((value) => !value.includes('\0'));
  const codec = struct({ a: int, b: optional(string), c: list(struct({ d: uhyper, e: bool })), f: string });
  const value = fc.record({
    a: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    b: fc.option(text),
    c: fc.array(fc.record({ d: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), e: fc.boolean() })),
    f: text,
  });

  test('is read back, in whole words', () => {
    fc.assert(
      fc.property(value, (written) => {
        const bytes = encode(codec, written);
        expect(bytes.length % 4).toBe(0);
        expect(decode(codec, bytes)).toEqual(written);
      }),
    );
  });

  test('is refused when cut anywhere', () => {
    fc.assert(
      fc.property(value, fc.nat(), (written, at) => {
        const bytes = encode(codec, written);
        expect(() => decode(codec, bytes.subarray(0, at % bytes.length))).toThrow(UNDECODABLE);
      }),
    );
  });
});

test('a reader starts where it is told, and its opaque bytes are a view', () => {
  const buffer = Buffer.from('ffffffff0102030405000000', 'hex');
  const reader = new XdrReader(buffer, 4);
  const bytes = reader.opaque(5);
  buffer[4] = 9;
  expect([...bytes]).toEqual([9, 2, 3, 4, 5]);
});

test.each([0, 1, 3, 4, 63, 64, 65, 200])(
  'a string of %i characters is the same on the wire in ASCII and beyond',
  (length) => {
    for (const value of ['a'.repeat(length), `${'a'.repeat(Math.max(0, length - 1))}ü`, 'ü€😀'.repeat(length)]) {
      const writer = new XdrWriter();
      writer.string(value);
      writer.uint(7);
      const bytes = Buffer.from(value);
      const head = Buffer.alloc(4);
      head.writeUInt32BE(bytes.length);
      const padding = Buffer.alloc(-bytes.length & 3);
      expect(writer.bytes()).toEqual(Buffer.concat([head, bytes, padding, Buffer.from([0, 0, 0, 7])]));
    }
  },
);
