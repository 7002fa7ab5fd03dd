/** Block jobs of active domains: `<state dir>/block-jobs/<uuid>.json`. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError } from '../errors.ts';
import { BLOCK_JOB_TYPES, type BlockJob } from '../model/blocks/block-job.ts';
import type { DomainRef } from '../model/domain.ts';
import type { BlockJobRecords, RecordedBlockJobs } from '../snapshots/block-jobs/ports.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, writeFileAtomically } from './atomic-file.ts';
import { STATE_FOLDERS } from './default-folders.ts';
import { pathSegment } from './path-segment.ts';
import { encodeRecord, readRecord } from './record.ts';

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

  async load(): Promise<readonly RecordedBlockJobs[]> {
    await refuseLink(this.#dir);
    const names = await readdir(this.#dir).catch((error) => {
      if (!isMissing(error)) this.#log(`cannot read folder '${this.#dir}': ${error.message}`);
      return [];
    });
    const records = names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) =>
        readRecord(join(this.#dir, name), 'a record of block jobs', parse).catch((error) => {
          this.#log(asLibvirtError(error).detail);
          return undefined;
        }),
      );
    return (await Promise.all(records)).filter((record) => record !== undefined);
  }

  async write(domain: DomainRef, jobs: readonly BlockJob[]): Promise<void> {
    const path = join(this.#dir, pathSegment(`${domain.uuid}${SUFFIX}`));
    if (jobs.length === 0) {
      await removeFile(path);
      return;
    }
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    await writeFileAtomically(path, encodeRecord({ domain, jobs }));
  }
}

// biome-ignore lint/suspicious/noExplicitAny: everything that is used is checked; what is not there throws.
function parse({ domain, jobs }: any): RecordedBlockJobs | undefined {
  const { name, uuid, id } = domain;
  const isRef = typeof name === 'string' && typeof uuid === 'string' && Number.isInteger(id);
  return isRef && jobs.every(isJob) ? { domain: { name, uuid, id }, jobs } : undefined;
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
  return images.every(({ path, format }) => typeof path === 'string' && typeof format === 'string');
}
