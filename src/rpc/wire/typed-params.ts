/** remote_typed_param: named values that carry their type, as in statistics. */

import { LibvirtError } from '../../errors.ts';
import { bool, type Codec, hyper, int, list, name, string, uhyper, uint } from './codec.ts';
import { undecodable } from './xdr.ts';

/** VIR_TYPED_PARAM_*. Doubles (5) are missing: nothing here sends one. */
const TYPES = {
  int: { number: 1, codec: int },
  uint: { number: 2, codec: uint },
  llong: { number: 3, codec: hyper },
  ullong: { number: 4, codec: uhyper },
  boolean: { number: 6, codec: bool },
  string: { number: 7, codec: string },
} as const;

type TypeName = keyof typeof TYPES;

/** A named value. */
export interface TypedParam {
  readonly field: string;
  readonly type: TypeName;
  readonly value: number | bigint | boolean | string;
}

const byNumber = new Map<number, TypeName>(
  Object.entries(TYPES).map(([type, { number }]) => [number, type as TypeName]),
);

const typedParam: Codec<TypedParam> = {
  max: name.max + int.max + string.max,
  write(writer, { field, type, value }) {
    writer.string(field);
    writer.int(TYPES[type].number);
    (TYPES[type].codec as Codec<typeof value>).write(writer, value);
  },
  read(reader) {
    const field = reader.string();
    const type = byNumber.get(reader.int());
    if (!type) throw undecodable();
    return { field, type, value: TYPES[type].codec.read(reader) };
  },
};

/** Returns the values by name. Refuses what the call does not have, in virTypedParamsValidate's words. */
export function namedParams<T extends Readonly<Record<string, TypeName>>>(
  params: readonly TypedParam[],
  known: T,
): { readonly [K in keyof T]?: TypedParam['value'] } {
  const values = new Map<string, TypedParam['value']>();
  for (const { field, type, value } of params) {
    const expected = Object.hasOwn(known, field) ? known[field] : undefined;
    if (expected === undefined) {
      throw new LibvirtError('ARGUMENT_UNSUPPORTED', `parameter '${field}' not supported`);
    }
    if (values.has(field)) throw new LibvirtError('INVALID_ARG', `parameter '${field}' occurs multiple times`);
    if (type !== expected) {
      throw new LibvirtError('INVALID_ARG', `invalid type '${type}' for parameter '${field}', expected '${expected}'`);
    }
    values.set(field, value);
  }
  return Object.fromEntries(values) as { readonly [K in keyof T]?: TypedParam['value'] };
}

/** A list of at most `max` named values. */
export const typedParams = (max: number): Codec<readonly TypedParam[]> => list(typedParam, max);
