/** Saves of embedded domains, and what is read from the images. */

import { rm } from 'node:fs/promises';
import { LibvirtError, systemError } from '../../errors.ts';
import { encodeMemoryStream, RAM_BYTES, readMemoryStream } from '../../memory/embedded-stream.ts';
import { requireFreeSpace } from '../../memory/free-space.ts';
import { readMemoryImage } from '../../memory/image-file.ts';
import { PartialMemoryImage } from '../../memory/partial-image.ts';
import { type Domain, type DomainDefinition, REASONS } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { partialOf } from '../../model/phases.ts';
import type { DomainSaves, PlannedSave } from '../../snapshots/ports/saves.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { readDefinition, withId } from './definitions.ts';
import type { Run } from './domain.ts';
import type { EmbeddedDomains } from './domains.ts';
import type { ManagedSaves } from './managed-saves.ts';

/** Saves by this process: if it ends, so does the domain, and nothing of an unfinished save is of use. */
export class EmbeddedSaves implements DomainSaves {
  readonly #domains: EmbeddedDomains;
  readonly #managed: ManagedSaves;

  constructor(domains: EmbeddedDomains, managed: ManagedSaves) {
    this.#domains = domains;
    this.#managed = managed;
  }

  /** The image says nothing of the guest's state, as in libvirt's xen driver: a paused guest is refused in its words. */
  async plan({ ref }: Domain, to: string | undefined): Promise<PlannedSave> {
    const domain = this.#domains.find(ref);
    const { id } = domain.run;
    if (to === undefined && !domain.persistent) {
      throw new LibvirtError('OPERATION_INVALID', 'cannot do managed save for transient domain');
    }
    if (domain.state === 'paused') {
      const text = `Domain '${id}' has to be running because libxenlight will suspend it: resume domain '${ref.name}' first`;
      throw new LibvirtError('OPERATION_INVALID', text);
    }
    const path = to ?? this.#managed.pathOf(domain);
    await requireFreeSpace(path, RAM_BYTES / 1024, { live: false });
    return { domain: domain.ref, path, managed: to === undefined, moves: [] };
  }

  async carryOut({ domain: { id, name, uuid }, path, managed }: PlannedSave): Promise<void> {
    const domain = this.#domains.find({ id, name, uuid });
    await domain.exclusive(async () => {
      const { run } = domain;
      if (run.id !== id) {
        throw new LibvirtError('OPERATION_INVALID', `domain '${name}' was started again in the meantime`);
      }
      if (managed) await this.#managed.makeFolder();
      const wasRunning = run.memory.running;
      await run.memory.pause();
      try {
        await writeImage(run, path);
      } catch (error) {
        if (wasRunning) run.memory.run();
        throw error;
      }
      domain.managedSave ||= managed;
      await this.#domains.end(domain, REASONS.shutoff.saved, LIFECYCLE.STOPPED_SAVED);
    });
  }

  async finish({ path }: PlannedSave): Promise<string> {
    await rm(partialOf(path), { force: true });
    return 'the domain has ended with xlsnapd, and what had been saved of it is removed';
  }
}

/** A domain as its image has it. */
interface SavedDomain {
  readonly definition: DomainDefinition;
  readonly ram: Buffer;
}

/** Reads the image of a saved embedded domain. Refuses any other. */
export async function readSavedDomain(path: string): Promise<SavedDomain> {
  const { domainXml, streamOffset } = await readMemoryImage(path);
  return { definition: readDefinition(domainXml), ram: await readMemoryStream(path, streamOffset) };
}

/** The guest is paused. With passwords: the domain is started from what the image says. */
async function writeImage({ definition, id, memory }: Run, path: string): Promise<void> {
  const image = await PartialMemoryImage.create(path, writeElement(withId(definition, id)));
  try {
    await image.append(encodeMemoryStream(await memory.contents()));
    await image.finish();
  } catch (error) {
    await image.discard();
    throw systemError(error, `Failed to write domain save file '${path}'`);
  }
}
