/**
 * Restores domains that libvirtd has saved for a snapshot whose operation was interrupted before the restore: the image
 * is all there is of the guest. Both mechanisms restore them.
 */

import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError } from '../../../errors.ts';
import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../../model/domain.ts';
import { LIFECYCLE } from '../../../model/events.ts';
import { shellCommand } from '../../../model/messages/shell-command.ts';
import type { Phase } from '../../../model/phases.ts';
import type { Interruption, LifecycleEvents } from '../../../snapshots/ports/host.ts';
import { parseDefinition, renamed } from '../../../xml/domain/definition.ts';
import { checkImageOwner } from '../../saved-definition.ts';
import { domainDefinition } from '../definition.ts';
import type { Launcher } from '../launch.ts';
import { checkSavedImage, imageDefinition, withNameAndImages } from '../saved-image.ts';
import type { Upstream } from '../upstream.ts';

/** Phases of a create in which the domain may be off, and its memory image may be all there is of it. */
const AWAY: ReadonlySet<Phase> = new Set<Phase>(['saving', 'saved', 'restoring']);

interface SavedDomainsOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  readonly launcher: Launcher;
  readonly scratchDir: string;
}

/** The saved domains of one upstream. */
export class SavedDomains {
  readonly #options: SavedDomainsOptions;

  constructor(options: SavedDomainsOptions) {
    this.#options = options;
  }

  /** The image that libvirtd writes if a domain is saved only to be off during work on its disks. */
  scratch({ uuid }: DomainRef): string {
    return join(this.#options.scratchDir, `${uuid}.save`);
  }

  /**
   * Restores a domain that was saved and not restored, with the definition that it had; libvirtd may have finished the save
   * after this daemon ended. Refuses an image whose guest cannot continue with that definition: somebody has changed it. If the
   * domain had been restored before the interruption, keeps the image: it belongs to the snapshot.
   */
  async recover(
    domain: Domain,
    { operation, phase, mechanism, memoryPath, definition: recorded }: Interruption,
  ): Promise<void> {
    // A guest that libxl saves stays: if it is off, it has ended by itself, and a file of the name is not its memory.
    if (mechanism === 'libxl') return;
    const { upstream, events, launcher } = this.#options;
    const scratch = this.scratch(domain.ref);
    const path = operation === 'create' && memoryPath !== undefined ? memoryPath : scratch;
    const away = path === scratch || AWAY.has(phase);
    if (away && !isActive(domain) && (await hasContents(path))) {
      if (mechanism === undefined && phase === 'saving') throw uncertain(domain.ref, path);
      const definition =
        recorded === undefined
          ? await this.#definitionIn(path, domain)
          : renamed(parseDefinition(recorded), domain.ref.name);
      await checkSavedImage(upstream, domain.ref, path, definition);
      const back = await launcher.restore(domain.ref, path, { definition });
      events.emit(back, LIFECYCLE.STARTED_RESTORED);
    }
    await rm(scratch, { force: true });
  }

  /** Of an image whose operation has not recorded the definition: the image's own, on the images that the domain has now. */
  async #definitionIn(path: string, domain: Domain): Promise<DomainDefinition> {
    const { upstream } = this.#options;
    const { xml } = await imageDefinition(upstream, path);
    const saved = checkImageOwner(domain.ref, { path, xml });
    if (!domain.persistent) return saved;
    return withNameAndImages(saved, await domainDefinition(upstream, domain, 'persistent'));
  }
}

/** libvirtd writes to an empty file: one that is still empty holds no guest. */
async function hasContents(path: string): Promise<boolean> {
  return await stat(path).then(
    ({ size }) => size > 0,
    () => false,
  );
}

/** The record does not say who was saving. Memory from before the snapshot would go back further than the disks. */
function uncertain({ name }: DomainRef, path: string): LibvirtError {
  const text =
    `domain '${name}' is off, and '${path}' may be its memory: if it is from before the snapshot, remove it and ` +
    `restart xlsnapd; else start the domain from it: ${shellCommand('virsh', 'restore', path)}`;
  return new LibvirtError('OPERATION_FAILED', text);
}
