/** Block jobs of active domains: `<state dir>/block-jobs/<uuid>.json`. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { BLOCK_JOB_TYPES, type BlockJob } from '../model/blocks/block-job.ts';
import type { DomainRef } from '../model/domain.ts';
import type { BlockJobRecords, RecordedBlockJobs } from '../snapshots/block-jobs/ports.ts';
import type { UnreadableRecord } from '../snapshots/ports/journal.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, writeFileAtomically } from './atomic-file.ts';
import { STATE_FOLDERS } from './default-folders.ts';
import { pathSegment } from './path-segment.ts';
import { encodeRecord, isDiskImage, isDomainRef, readRecord } from './record.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';

/** BlockJobRecords in files. */
export class BlockJobFiles implements BlockJobRecords {
  readonly #dir: string;
  readonly #log: (text: string) => void;

  constructor(stateDir: string, log: (text: string) => void) {
    this.#dir = join(stateDir, STATE_FOLDERS.blockJobs);
    this.#log = log;
  }

  async load(): Promise<readonly (RecordedBlockJobs | UnreadableRecord)[]> {
    await refuseLink(this.#dir);
    const names = await readdir(this.#dir).catch((error) => {
      if (!isMissing(error)) this.#log(`cannot read folder '${this.#dir}': ${error.message}`);
      return [];
    });
    const records = names
      .filter((name) => name.endsWith(SUFFIX))
      .map(async (name) => {
        const uuid = name.slice(0, -SUFFIX.length);
        return await this.#read(uuid).catch((error) => ({ uuid, error: asLibvirtError(error) }));
      });
    return (await Promise.all(records)).filter((record) => record !== undefined);
  }

  async write(domain: DomainRef, jobs: readonly BlockJob[]): Promise<void> {
    const path = this.#path(domain.uuid);
    if (jobs.length === 0) {
      await removeFile(path);
      return;
    }
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    await writeFileAtomically(path, encodeRecord({ domain, jobs }));
  }

  async #read(uuid: string): Promise<RecordedBlockJobs | undefined> {
    const path = this.#path(uuid);
    const record = await readRecord(path, 'a record of block jobs', parse);
    if (!record || record.domain.uuid === uuid) return record;
    throw new LibvirtError(
      'INTERNAL_ERROR',
      `'${path}' is a record of another domain, ${record.domain.uuid}: move it away and restart xlsnapd`,
    );
  }

  #path(uuid: string): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

// biome-ignore lint/suspicious/noExplicitAny: everything that is used is checked; what is not there throws.
function parse({ domain, jobs }: any): RecordedBlockJobs | undefined {
  const { name, uuid, id } = domain;
  return isDomainRef(domain) && jobs.every(isJob) ? { domain: { name, uuid, id }, jobs } : undefined;
}

/** Finishing a job uses these paths: a damaged record must not make us touch others' files. */
// biome-ignore lint/suspicious/noExplicitAny: see parse.
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
