/** virDomainSave and virDomainManagedSave of domains that xlsnapd saves itself: its own, or on overlays that their owner does not know. */

import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asLibvirtError, hasReason, LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import { savedDomainOf } from '../../files/saved-domain.ts';
import type { DomainRef } from '../../model/domain.ts';
import { refuseUnknownFlags } from '../../model/flags.ts';
import { partialOf } from '../../model/phases.ts';
import type { SaveApi } from '../api.ts';
import type { SnapshotContext } from '../context.ts';
import { ownFileAt } from '../own-files.ts';
import type { DomainSaves, RecordedSave, SaveRecords } from '../ports/saves.ts';

/** The parts of the surroundings that saves need. */
interface SaveParts {
  readonly saves: DomainSaves;
  readonly records: SaveRecords;
}

/** The save API over one host. */
export class SaveService implements SaveApi {
  readonly #context: SnapshotContext;
  readonly #parts: SaveParts;

  private constructor(context: SnapshotContext, parts: SaveParts) {
    this.#context = context;
    this.#parts = parts;
  }

  /**
   * Completes the saves that an earlier daemon has begun, or removes what is left of them. Those of domains on which their
   * owner still has a job wait for its end, and so does every other operation on these domains.
   */
  static async open(context: SnapshotContext, parts: SaveParts): Promise<SaveService> {
    const service = new SaveService(context, parts);
    for (const save of await parts.records.load()) await service.#finish(save);
    return service;
  }

  async save(
    domain: DomainRef,
    { to, dxml, flags }: { readonly to: string; readonly dxml: string | null; readonly flags: number },
  ): Promise<void> {
    refuseUnknownFlags(flags, 0, 'libxlDomainSaveFlags');
    if (dxml !== null) throw new LibvirtError('ARGUMENT_UNSUPPORTED', 'xml modification unsupported');
    if (!to.startsWith('/')) throw new LibvirtError('INVALID_ARG', `'${to}' is not an absolute path`);
    const refuse = (why: string): LibvirtError =>
      new LibvirtError('CONFIG_UNSUPPORTED', `domain save file '${to}' is ${why}: choose another`);
    const own = await ownFileAt(this.#context, to);
    if (own !== undefined) throw refuse(`among xlsnapd's own files, '${own}'`);
    await requireFileName(to);
    const partial = partialOf(to);
    if ((await statIfThere(partial)) && (await savedDomainOf(partial)) !== domain.uuid) {
      throw refuse(`written as '${partial}' first, which is not what a save of domain '${domain.name}' has left`);
    }
    await this.#save(domain, to);
  }

  async managedSave(domain: DomainRef, flags: number): Promise<void> {
    refuseUnknownFlags(flags, 0, 'libxlDomainManagedSave');
    await this.#save(domain, undefined);
  }

  async #save(ref: DomainRef, to: string | undefined): Promise<void> {
    const { host, jobs } = this.#context;
    const { saves, records } = this.#parts;
    const { ref: known } = await host.lookup(ref);
    await jobs.exclusive(known, async () => {
      // It moves the guest to another image when it ends.
      jobs.refuseBlockJobs(known.uuid);
      const save = await saves.plan(await host.lookup(ref), to);
      await records.write(save);
      try {
        await saves.carryOut(save);
      } catch (error) {
        if (!hasReason(error, 'save-unfinished')) await records.remove(known);
        throw error;
      }
      await records.remove(known);
    });
  }

  /** Resolves when the save is dealt with, or has to wait. Never rejects. */
  #finish(save: RecordedSave): Promise<void> {
    const { host, jobs, log } = this.#context;
    const { domain, path } = save;
    const interrupted = `save of domain '${domain.name}' to '${path}' was interrupted`;
    return new Promise((resolve) => {
      const waiting = (): void => {
        log(`${interrupted}: it will be completed when libvirtd has finished with the domain`);
        resolve();
      };
      jobs
        .exclusive(domain, async (stopping) => {
          await host.idle(domain, { signal: stopping, waiting });
          log(`${interrupted}: ${await this.#parts.saves.finish(save)}`);
          await this.#parts.records.remove(domain);
        })
        .catch((error) => log(`${interrupted} and could not be completed: ${asLibvirtError(error).message}`))
        .finally(resolve);
    });
  }
}

/** The image is written under another name, and takes this one's place when it is whole: a device would be replaced by a file. */
async function requireFileName(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found || found.isFile()) return;
  const text =
    `'${path}' is not a regular file: a domain is saved to a file, which has its name when it is whole; ` +
    `name another in '${dirname(path)}'`;
  throw new LibvirtError('OPERATION_INVALID', text);
}
