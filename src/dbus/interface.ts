/** D-Bus interfaces as tables: a method's arguments and result are declared once, for calls and for introspection. */

import type { Reply } from './bus.ts';

/** The TypeScript types of the signatures that our interfaces use. */
interface Values {
  readonly b: boolean;
  readonly i: number;
  readonly u: number;
  readonly t: bigint;
  readonly s: string;
  readonly o: string;
  readonly ao: readonly string[];
}

type Type = keyof Values;

/** Names and types, in the order of the arguments. */
export type Arguments = Readonly<Record<string, Type>>;

type ValuesOf<A extends Arguments> = { readonly [Name in keyof A]: Values[A[Name]] };

/** A method of the objects `T`. It returns one value or none. */
interface Method<T> {
  readonly takes: Arguments;
  readonly gives: Arguments;
  readonly run: (object: T, values: readonly unknown[]) => Promise<Reply>;
}

/** A read-only property, which changes without a signal. */
interface Property<T> {
  readonly type: Type;
  readonly read: (object: T) => Values[Type] | Promise<Values[Type]>;
}

/** One interface of the objects `T`. */
export interface Interface<T> {
  readonly name: string;
  readonly properties: Readonly<Record<string, Property<T>>>;
  readonly methods: Readonly<Record<string, Method<T>>>;
  readonly signals: Readonly<Record<string, Arguments>>;
}

/** Returns the D-Bus signature of arguments. */
export const signatureOf = (args: Arguments): string => Object.values(args).join('');

/** Declares a method that returns one value, `gives`. */
export function method<T, A extends Arguments, Name extends string, G extends Type>(
  takes: A,
  gives: Readonly<Record<Name, G>>,
  run: (object: T, args: ValuesOf<A>) => Promise<Values[G]>,
): Method<T> {
  const signature = signatureOf(gives);
  return {
    takes,
    gives,
    run: async (object, values) => ({ signature, values: [await run(object, named(takes, values))] }),
  };
}

/** Declares a method that returns nothing. */
export function action<T, A extends Arguments>(
  takes: A,
  run: (object: T, args: ValuesOf<A>) => Promise<void>,
): Method<T> {
  return {
    takes,
    gives: {},
    run: async (object, values) => {
      await run(object, named(takes, values));
      return { signature: '', values: [] };
    },
  };
}

/** Declares a property with its type. */
export function property<T, P extends Type>(type: P, read: (object: T) => Values[P] | Promise<Values[P]>): Property<T> {
  return { type, read };
}

/** The cast is safe: the dispatcher has compared the call's signature with that of `takes`. */
function named<A extends Arguments>(takes: A, values: readonly unknown[]): ValuesOf<A> {
  return Object.fromEntries(Object.keys(takes).map((name, index) => [name, values[index]])) as ValuesOf<A>;
}
