import { LibvirtError } from '../errors.ts';

/** What virsh itself says to a command line that it does not carry out: the text alone, without a code's prefix. */
export function failure(text: string, cause?: unknown): LibvirtError {
  return new LibvirtError('OTHER', text, { cause });
}
