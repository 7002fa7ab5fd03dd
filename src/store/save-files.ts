/** Saves under way of domains on overlays: `<state dir>/saves/<uuid>.json`. */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { PlannedSave, RecordedSave, SaveRecords } from '../snapshots/ports/saves.ts';
import { isMissing, makeOwnFolder, refuseLink, removeFile, writeFileAtomically } from './atomic-file.ts';
import { STATE_FOLDERS } from './default-folders.ts';
import { pathSegment } from './path-segment.ts';
import { encodeRecord, isDiskImage, isDomainRef, readRecord } from './record.ts';

const FOLDER_MODE = 0o700;
const SUFFIX = '.json';
/** A random UUID for each boot. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** SaveRecords in files. */
export class SaveFiles implements SaveRecords {
  readonly #dir: string;
  readonly #log: (text: string) => void;

  constructor(stateDir: string, log: (text: string) => void) {
    this.#dir = join(stateDir, STATE_FOLDERS.saves);
    this.#log = log;
  }

  async load(): Promise<readonly RecordedSave[]> {
    await refuseLink(this.#dir);
    const names = await readdir(this.#dir).catch((error) => {
      if (!isMissing(error)) this.#log(`cannot read folder '${this.#dir}': ${error.message}`);
      return [];
    });
    const boot = await bootId();
    const records = names
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) =>
        readRecord(join(this.#dir, name), 'a record of a save', (fields) => parse(fields, boot)).catch((error) => {
          this.#log(asLibvirtError(error).detail);
          return undefined;
        }),
      );
    return (await Promise.all(records)).filter((record) => record !== undefined);
  }

  async write(save: PlannedSave): Promise<void> {
    await makeOwnFolder(this.#dir, FOLDER_MODE);
    await writeFileAtomically(this.#path(save.domain), encodeRecord({ ...save, boot: await bootId() }));
  }

  remove(domain: DomainRef): Promise<void> {
    return removeFile(this.#path(domain));
  }

  #path({ uuid }: DomainRef): string {
    return join(this.#dir, pathSegment(`${uuid}${SUFFIX}`));
  }
}

async function bootId(): Promise<string> {
  return (await readFile(BOOT_ID, 'utf8')).trim();
}

/** Finishing a save writes to its path and removes it: a damaged record must not make us touch others' files. */
// biome-ignore lint/suspicious/noExplicitAny: everything that is used is checked; what is not there throws.
function parse({ domain, path, managed, moves, boot }: any, thisBoot: string): RecordedSave | undefined {
  const { name, uuid, id } = domain;
  const isPath = typeof path === 'string' && path.startsWith('/') && typeof managed === 'boolean';
  if (!isDomainRef(domain) || !isPath || !moves.every(isMove)) return undefined;
  return { domain: { name, uuid, id }, path, managed, moves, sameBoot: boot === thisBoot };
}

// biome-ignore lint/suspicious/noExplicitAny: see parse.
function isMove({ disk, from, to }: any): boolean {
  return typeof disk === 'string' && isDiskImage(from) && isDiskImage(to);
}
