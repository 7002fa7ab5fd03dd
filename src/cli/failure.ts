import { LibvirtError } from '../errors.ts';

/** An error of the command line itself, as virsh prints it: the text alone, without a code's prefix. */
export function failure(text: string, cause?: unknown): LibvirtError {
  return new LibvirtError('OTHER', text, { cause });
}
