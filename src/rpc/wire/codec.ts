/** XDR types as values. The structs of remote_protocol.x are declared with these, once for both directions. */

import { LIST_MAX, padded, STRING_MAX, XdrReader, type XdrWriter } from './xdr.ts';

/** Encodes and decodes values of one type. */
export interface Codec<T> {
  /** Bytes of the largest value. */
  readonly max: number;
  write(writer: XdrWriter, value: T): void;
  read(reader: XdrReader): T;
}

/** The TypeScript side of a codec. */
export type Decoded<C> = C extends Codec<infer T> ? T : never;

/** int: 32 bits. */
export const int: Codec<number> = {
  max: 4,
  write: (writer, value) => writer.int(value),
  read: (reader) => reader.int(),
};
/** unsigned int: 32 bits. */
export const uint: Codec<number> = {
  max: 4,
  write: (writer, value) => writer.uint(value),
  read: (reader) => reader.uint(),
};
/** hyper: 64 bits. */
export const hyper: Codec<bigint> = {
  max: 8,
  write: (writer, value) => writer.hyper(value),
  read: (reader) => reader.hyper(),
};
/** unsigned hyper: 64 bits. */
export const uhyper: Codec<bigint> = {
  max: 8,
  write: (writer, value) => writer.uhyper(value),
  read: (reader) => reader.uhyper(),
};
/** bool: a word; any value but 0 is true. */
export const bool: Codec<boolean> = {
  max: 4,
  write: (writer, value) => writer.bool(value),
  read: (reader) => reader.bool(),
};

const stringUpTo = (bytes: number): Codec<string> => ({
  max: 4 + padded(bytes),
  write: (writer, value) => writer.string(value, bytes),
  read: (reader) => reader.string(bytes),
});

/** remote_nonnull_string. */
export const string: Codec<string> = stringUpTo(STRING_MAX);

/** The same for names and URIs, shorter than the protocol allows: a client's call must not cost 4 MiB for each. */
export const name: Codec<string> = stringUpTo(65_536);

/** No payload at all. */
export const nothing: Codec<void> = { max: 0, write: () => {}, read: () => {} };

/** The members after those that are used here, not decoded. */
export const rest: Codec<Buffer> = {
  max: Number.POSITIVE_INFINITY,
  write: (writer, value) => writer.opaque(value),
  read: (reader) => reader.rest(),
};

/** remote_uuid: 16 bytes on the wire, `6695eb01-f6a4-8304-79aa-97f2502e193f` here. */
export const uuid: Codec<string> = {
  max: 16,
  write: (writer, value) => writer.opaque(Buffer.from(value.replaceAll('-', ''), 'hex')),
  read: (reader) =>
    reader
      .opaque(16)
      .toString('hex')
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
};

/** `T *`: absent is null. */
export function optional<T>(codec: Codec<T>): Codec<T | null> {
  return {
    max: 4 + codec.max,
    write(writer, value) {
      writer.bool(value !== null);
      if (value !== null) codec.write(writer, value);
    },
    read: (reader) => (reader.bool() ? codec.read(reader) : null),
  };
}

/** `T name<max>`. */
export function list<T>(codec: Codec<T>, max = LIST_MAX): Codec<readonly T[]> {
  return {
    max: 4 + max * codec.max,
    write(writer, values) {
      writer.count(values.length, max);
      for (const value of values) codec.write(writer, value);
    },
    read: (reader) => Array.from({ length: reader.count(max) }, () => codec.read(reader)),
  };
}

/** Members in the order they are written here. */
export function struct<T extends object>(members: { readonly [K in keyof T]: Codec<T[K]> }): Codec<Readonly<T>> {
  const entries = Object.entries(members) as [keyof T, Codec<T[keyof T]>][];
  return {
    max: entries.reduce((sum, [, codec]) => sum + codec.max, 0),
    write(writer, value) {
      for (const [name, codec] of entries) codec.write(writer, value[name]);
    },
    read(reader) {
      const value: Partial<T> = {};
      for (const [name, codec] of entries) value[name] = codec.read(reader);
      return value as T;
    },
  };
}

/** A value at `offset`, as libvirt decodes it (virNetMessageDecodePayload): bytes after it are ignored. */
export function decode<T>(codec: Codec<T>, buffer: Buffer, offset = 0): T {
  return codec.read(new XdrReader(buffer, offset));
}
