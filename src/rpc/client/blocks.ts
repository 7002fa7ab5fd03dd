/** The client's side of the question for a disk's block job. */

import { isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { Decoded } from '../wire/codec.ts';
import { CALLS } from './calls.ts';
import type { Send } from './connection.ts';

/** virDomainBlockJobInfo. */
export type BlockJobInfo = Omit<Decoded<typeof CALLS.getBlockJobInfo.result>, 'found'>;

/** Returns the function that asks for the job of a disk; it answers undefined if there is none, or nobody who has any. */
export function blockJobInfoCall(send: Send): (domain: DomainRef, disk: string) => Promise<BlockJobInfo | undefined> {
  return async (domain, disk) => {
    try {
      const { found, ...info } = await send(CALLS.getBlockJobInfo, { domain, disk, flags: 0 });
      return found === 0 ? undefined : info;
    } catch (error) {
      // libvirt's xen driver has none, and a domain that has ended in between has none any more.
      if (isLibvirtError(error, 'NO_SUPPORT', 'OPERATION_INVALID', 'NO_DOMAIN')) return undefined;
      throw error;
    }
  };
}
