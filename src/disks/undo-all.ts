import { asLibvirtError, LibvirtError } from '../errors.ts';

/**
 * Takes back, latest first, what was made before `cause`, and gives the error to throw: `cause` itself, with what is left
 * where something could not be taken back.
 */
export async function takeBack(made: readonly (() => Promise<void>)[], cause: unknown): Promise<LibvirtError> {
  const error = asLibvirtError(cause);
  const left: string[] = [];
  for (const undo of made.toReversed()) {
    await undo().catch((reason: unknown) => left.push(asLibvirtError(reason).detail));
  }
  if (left.length === 0) return error;
  const text = `${error.detail}; and it is left behind: ${left.join('; ')}`;
  return new LibvirtError(error.code, text, { cause: error });
}
