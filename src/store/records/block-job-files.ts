/** Block jobs of active domains: `<state dir>/block-jobs/<uuid>.json`. */

import { join } from 'node:path';
import { BLOCK_JOB_TYPES, type BlockJob } from '../../model/blocks/block-job.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { BlockJobRecords, RecordedBlockJobs } from '../../snapshots/block-jobs/ports.ts';
import type { UnreadableRecord } from '../../snapshots/ports/journal.ts';
import { STATE_FOLDERS } from '../default-folders.ts';
import { isDiskImage, isDomainRef } from './record.ts';
import { RecordFolder, withUnreadable } from './record-folder.ts';

/** BlockJobRecords in files. */
export class BlockJobFiles implements BlockJobRecords {
  readonly #records: RecordFolder<RecordedBlockJobs>;

  constructor(stateDir: string) {
    const dir = join(stateDir, STATE_FOLDERS.blockJobs);
    this.#records = new RecordFolder({
      dir,
      what: 'a record of block jobs',
      read,
      uuidOf: ({ domain }) => domain.uuid,
    });
  }

  async load(): Promise<readonly (RecordedBlockJobs | UnreadableRecord)[]> {
    return withUnreadable(await this.#records.all());
  }

  async write(domain: DomainRef, jobs: readonly BlockJob[]): Promise<void> {
    if (jobs.length === 0) await this.#records.remove(domain.uuid);
    else await this.#records.write(domain.uuid, { domain, jobs });
  }
}

// biome-ignore lint/suspicious/noExplicitAny: everything that is used is checked; what is not there throws.
function read({ domain, jobs }: any): RecordedBlockJobs | undefined {
  const { name, uuid, id } = domain;
  return isDomainRef(domain) && jobs.every(isJob) ? { domain: { name, uuid, id }, jobs } : undefined;
}

/** Finishing a job uses these paths: a damaged record must not make us touch others' files. */
// biome-ignore lint/suspicious/noExplicitAny: see read.
function isJob({ kind, disk, layer, active, base, source, target, backing, left = [], between = [] }: any): boolean {
  if (typeof disk !== 'string' || !Object.hasOwn(BLOCK_JOB_TYPES, kind)) return false;
  const images =
    kind === 'pull'
      ? [active, ...(base ? [base] : []), ...between]
      : kind === 'copy'
        ? [source, target, ...(backing ? [backing] : []), ...left]
        : [layer.top, layer.base, ...(layer.above ? [layer.above] : []), ...(layer.between ?? [])];
  return images.every(isDiskImage);
}
