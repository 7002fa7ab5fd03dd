/** Errors that are expected. */

import { LibvirtError } from '../../src/errors.ts';

/** The LibvirtError with which a call rejects; fails the test where it does not. */
export async function refusal(call: Promise<unknown>): Promise<LibvirtError> {
  const error = await call.then(
    () => undefined,
    (reason) => reason,
  );
  if (error instanceof LibvirtError) return error;
  throw new Error(`no LibvirtError: ${error}`);
}
