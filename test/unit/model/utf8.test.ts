import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeUtf8, encodeUtf8 } from '../../../src/model/utf8.ts';

test('text is itself', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(decodeUtf8(Buffer.from(text))).toBe(text);
      expect(encodeUtf8(text)).toEqual(Buffer.from(text));
    }),
  );
});

test('any bytes come back, also from within another text', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string({ unit: 'binary' }), (given, around) => {
      const bytes = Buffer.from(given);
      expect(encodeUtf8(decodeUtf8(bytes))).toEqual(bytes);
      const all = Buffer.concat([Buffer.from(around), bytes, Buffer.from(around)]);
      expect(encodeUtf8(around + decodeUtf8(bytes) + around)).toEqual(all);
    }),
  );
});

test('bytes that are not UTF-8 are never equal to a text', () => {
  for (const bytes of [[0xe9], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf5], [0xe9, 0x61]]) {
    const text = decodeUtf8(Buffer.from(bytes));
    expect(text).toMatch(/\p{Surrogate}/u);
    expect(Buffer.from(text)).not.toEqual(Buffer.from(bytes));
  }
});
