/** The client's side of the calls about block jobs: the same functions as on the server's side (block-calls.ts). */

import { isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { BlockApi } from '../../snapshots/api.ts';
import type { Decoded } from '../wire/codec.ts';
import { CALLS } from './calls.ts';
import type { Send } from './connection.ts';

/** virDomainBlockJobInfo. The type is virDomainBlockJobType's number, which may be one that only libvirtd has. */
export type BlockJobInfo = Omit<Decoded<typeof CALLS.getBlockJobInfo.result>, 'found'>;

/** virDomainBlock*, as the server has them. */
export interface BlockCalls extends Pick<BlockApi, 'commit' | 'pull' | 'abort' | 'setSpeed'> {
  jobInfo(domain: DomainRef, disk: string, flags: number): Promise<BlockJobInfo | undefined>;
  /** Answers undefined also if nobody here has block jobs. */
  jobInfoIfAny(domain: DomainRef, disk: string): Promise<BlockJobInfo | undefined>;
}

/** Returns the calls of a connection. */
export function blockCalls(send: Send): BlockCalls {
  const jobInfo: BlockCalls['jobInfo'] = async (domain, disk, flags) => {
    const { found, ...job } = await send(CALLS.getBlockJobInfo, { domain, disk, flags });
    return found === 0 ? undefined : job;
  };
  return {
    commit: (domain, { disk, top = null, base = null, flags }, bandwidth) =>
      send(CALLS.blockCommit, { domain, disk, top, base, bandwidth, flags }),
    pull: (domain, { disk, base, flags }, bandwidth) =>
      base === undefined
        ? send(CALLS.blockPull, { domain, disk, bandwidth, flags })
        : send(CALLS.blockRebase, { domain, disk, base, bandwidth, flags }),
    jobInfo,
    async jobInfoIfAny(domain, disk) {
      try {
        return await jobInfo(domain, disk, 0);
      } catch (error) {
        // libvirt's xen driver has none, and a domain that has ended in between has none any more.
        if (isLibvirtError(error, 'NO_SUPPORT', 'OPERATION_INVALID', 'NO_DOMAIN')) return undefined;
        throw error;
      }
    },
    abort: (domain, disk, flags) => send(CALLS.blockJobAbort, { domain, disk, flags }),
    setSpeed: (domain, disk, bandwidth, flags) => send(CALLS.blockJobSetSpeed, { domain, disk, bandwidth, flags }),
  };
}
