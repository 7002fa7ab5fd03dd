/** The calls about block jobs and block devices, each one call of the block API. */

import { LibvirtError } from '../../../errors.ts';
import { BLOCK_JOB_TYPES } from '../../../model/blocks/block-job.ts';
import { PULL } from '../../../model/flags.ts';
import type { BlockApi } from '../../../snapshots/api.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import { type Answers, answer } from '../answers.ts';

const NO_JOB = { found: 0, type: 0, bandwidth: 0n, cur: 0n, end: 0n };

/** virDomainBlockRebaseFlags: those of a copy are SHALLOW, REUSE_EXT, COPY_RAW, COPY and COPY_DEV. */
const REBASE_COPY = 0x8;
const REBASE_OF_COPY = 0x27;

/** Answers for the block devices of `api`. */
export function blockAnswers(api: BlockApi): Answers {
  return new Map([
    answer(P.DOMAIN_BLOCK_COMMIT, ({ domain, disk, base, top, bandwidth, flags }) =>
      api.commit(domain, { disk, base: base ?? undefined, top: top ?? undefined, flags }, bandwidth),
    ),
    answer(P.DOMAIN_BLOCK_PULL, ({ domain, disk, bandwidth, flags }) => {
      const relative = flags & PULL.RELATIVE;
      // Only a rebase has that bit.
      if (relative !== 0)
        throw invalidFlags(`unsupported flags (0x${relative.toString(16)}) in function virDomainBlockPull`);
      return api.pull(domain, { disk, flags }, bandwidth);
    }),
    answer(P.DOMAIN_BLOCK_REBASE, ({ domain, disk, base, bandwidth, flags }) => {
      if (flags & REBASE_COPY) throw new LibvirtError('NO_SUPPORT', 'virDomainBlockCopy', { domain: 'DOMAIN' });
      if (flags & REBASE_OF_COPY) throw invalidFlags('use of flags requires a copy job');
      return api.pull(domain, { disk, base: base ?? undefined, flags }, bandwidth);
    }),
    answer(P.DOMAIN_GET_BLOCK_JOB_INFO, async ({ domain, disk, flags }) => {
      const job = await api.jobInfo(domain, disk, flags);
      if (!job) return NO_JOB;
      const { kind, bandwidth, cur, end } = job;
      return { found: 1, type: BLOCK_JOB_TYPES[kind], bandwidth, cur, end };
    }),
    answer(P.DOMAIN_BLOCK_JOB_ABORT, ({ domain, disk, flags }) => api.abort(domain, disk, flags)),
    answer(P.DOMAIN_BLOCK_JOB_SET_SPEED, ({ domain, disk, bandwidth, flags }) =>
      api.setSpeed(domain, disk, bandwidth, flags),
    ),
    answer(P.DOMAIN_GET_BLOCK_INFO, async ({ domain, disk, flags }) => {
      const { allocation, capacity, physical } = await api.blockInfo(domain, disk, flags);
      return { allocation: BigInt(allocation), capacity: BigInt(capacity), physical: BigInt(physical) };
    }),
  ]);
}

function invalidFlags(text: string): LibvirtError {
  return new LibvirtError('INVALID_ARG', text, { argument: { function: 'virDomainBlockRebase', name: 'flags' } });
}
