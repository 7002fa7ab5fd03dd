/** The calls about block jobs and block devices, each one call of the block API. */

import { LibvirtError } from '../../../errors.ts';
import { BLOCK_JOB_TYPES } from '../../../model/blocks/block-job.ts';
import { allFlags, COPY, PULL, REBASE, refuseUnknownFlags } from '../../../model/flags.ts';
import type { BlockApi, CopyRequest } from '../../../snapshots/api.ts';
import { PROCEDURES as P } from '../../wire/procedures.ts';
import { namedParams } from '../../wire/typed-params.ts';
import { type Answers, answer } from '../answers.ts';

const NO_JOB = { found: 0, type: 0, bandwidth: 0n, cur: 0n, end: 0n };

const OF_COPY = REBASE.SHALLOW | REBASE.REUSE_EXT | REBASE.COPY_RAW | REBASE.COPY_DEV;
const COPY_PARAMS = { bandwidth: 'ullong', granularity: 'uint', 'buf-size': 'ullong' } as const;

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
    answer(P.DOMAIN_BLOCK_COPY, ({ domain, disk, destxml, params, flags }) => {
      const { bandwidth = 0n, granularity = 0, 'buf-size': size = 0n } = namedParams(params, COPY_PARAMS);
      const numbers = { bandwidth: BigInt(bandwidth), granularity: Number(granularity), bufferSize: BigInt(size) };
      return api.copy(domain, { disk, destination: destxml, flags, bytes: true, ...numbers });
    }),
    answer(P.DOMAIN_BLOCK_REBASE, ({ domain, disk, base, bandwidth, flags }) => {
      if (flags & REBASE.COPY) return api.copy(domain, copyOfRebase(disk, base, bandwidth, flags));
      if (flags & OF_COPY) throw invalidFlags('use of flags requires a copy job');
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
    answer(P.DOMAIN_BLOCK_RESIZE, ({ domain, disk, size, flags }) => api.resize(domain, disk, size, flags)),
    answer(P.DOMAIN_GET_BLOCK_INFO, async ({ domain, disk, flags }) => {
      const { allocation, capacity, physical } = await api.blockInfo(domain, disk, flags);
      return { allocation: BigInt(allocation), capacity: BigInt(capacity), physical: BigInt(physical) };
    }),
  ]);
}

/** virDomainBlockRebase as a copy: `base` is the path of the destination. */
function copyOfRebase(disk: string, path: string | null, bandwidth: bigint, flags: number): CopyRequest {
  refuseUnknownFlags(flags, allFlags(REBASE), 'libxlDomainBlockRebase');
  if (path === null) throw new LibvirtError('INVALID_ARG', 'base in virDomainBlockRebase must not be NULL');
  if (flags & REBASE.RELATIVE) {
    throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'Relative backing during copy not supported yet');
  }
  const format = flags & REBASE.COPY_RAW ? 'raw' : undefined;
  return {
    disk,
    destination: { path, format, block: (flags & REBASE.COPY_DEV) !== 0 },
    // The same bits in both calls.
    flags: flags & (COPY.SHALLOW | COPY.REUSE_EXT),
    bandwidth,
    bytes: (flags & REBASE.BANDWIDTH_BYTES) !== 0,
    ...{ granularity: 0, bufferSize: 0n },
  };
}

function invalidFlags(text: string): LibvirtError {
  return new LibvirtError('INVALID_ARG', text, { argument: { function: 'virDomainBlockRebase', name: 'flags' } });
}
