/** Named values that carry their type: what no call has is refused, whatever else is in the list. */

import { describe, expect, test } from '@jest/globals';
import { decode } from '../../../../src/rpc/wire/codec.ts';
import { namedParams, type TypedParam, typedParams } from '../../../../src/rpc/wire/typed-params.ts';
import { XdrWriter } from '../../../../src/rpc/wire/xdr.ts';

const PARAMS: readonly TypedParam[] = [
  { field: 'i', type: 'int', value: -1 },
  { field: 'ui', type: 'uint', value: 1 },
  { field: 'l', type: 'llong', value: -2n },
  { field: 'ul', type: 'ullong', value: 2n },
  { field: 'b', type: 'boolean', value: true },
  { field: 's', type: 'string', value: 'text' },
];

function encoded(params: readonly TypedParam[]): Buffer {
  const writer = new XdrWriter();
  typedParams(params.length).write(writer, params);
  return writer.bytes();
}

describe('on the wire', () => {
  test('values of every type read back as they were', () => {
    expect(decode(typedParams(6), encoded(PARAMS))).toEqual(PARAMS);
  });

  test('more of them than the call allows are undecodable', () => {
    expect(() => decode(typedParams(5), encoded(PARAMS))).toThrow('Unable to decode message payload');
  });

  test.each([0, 5, 8])('a value of type %i is undecodable', (number) => {
    const bytes = encoded([{ field: 'ab', type: 'int', value: 7 }]);
    // After the count, and the name with its length.
    bytes.writeInt32BE(number, 12);
    expect(() => decode(typedParams(1), bytes)).toThrow('Unable to decode message payload');
  });
});

describe('of a call', () => {
  const named = (...params: readonly TypedParam[]) => namedParams(params, { size: 'uint', bandwidth: 'ullong' });
  const size: TypedParam = { field: 'size', type: 'uint', value: 4 };

  test('are found by their names', () => {
    expect(named(size)).toEqual({ size: 4 });
    expect(named()).toEqual({});
  });

  test.each<[string, readonly TypedParam[], string, string]>([
    ['that it does not have', [{ ...size, field: 'sizes' }], 'ARGUMENT_UNSUPPORTED', "parameter 'sizes' not supported"],
    [
      'with the name of something that every object has',
      [{ ...size, field: 'toString' }],
      'ARGUMENT_UNSUPPORTED',
      "parameter 'toString' not supported",
    ],
    ['given twice', [size, size], 'INVALID_ARG', "parameter 'size' occurs multiple times"],
    [
      'of another type',
      [{ field: 'size', type: 'ullong', value: 4n }],
      'INVALID_ARG',
      "invalid type 'ullong' for parameter 'size', expected 'uint'",
    ],
  ])('a parameter %s is refused', (_what, params, code, detail) => {
    expect(() => named(...params)).toThrow(expect.objectContaining({ code, detail }));
  });
});
