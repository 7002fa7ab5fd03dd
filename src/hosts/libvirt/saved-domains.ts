/**
 * Domains that libvirtd has saved for a snapshot and that an interruption kept from being restored: the image is all there
 * is of the guest. They come back whichever mechanism the next daemon uses.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { imageExists } from '../../disks/overlays/overlays.ts';
import { type Domain, type DomainRef, isActive } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { Phase } from '../../model/phases.ts';
import type { Interruption, LifecycleEvents } from '../../snapshots/ports.ts';
import { checkImageOwner } from '../saved-definition.ts';
import { domainDefinition } from './definition.ts';
import type { Launcher } from './launch.ts';
import { imageDefinition, withNameAndImages } from './saved-image.ts';
import type { Upstream } from './upstream.ts';

/** Phases of a create in which the domain may be away, and its memory image all there is of it. */
const AWAY: ReadonlySet<Phase> = new Set<Phase>(['saving', 'saved', 'restoring']);

interface SavedDomainsOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  readonly launcher: Launcher;
  readonly scratchDir: string;
}

export class SavedDomains {
  readonly #options: SavedDomainsOptions;

  constructor(options: SavedDomainsOptions) {
    this.#options = options;
  }

  /** Image of a domain that is saved for no snapshot with memory, only to be off for a while. libvirtd writes it. */
  scratch({ uuid }: DomainRef): string {
    return join(this.#options.scratchDir, `${uuid}.save`);
  }

  /**
   * A domain that was saved and not restored comes back from its image, as it was; libvirtd may have ended the save
   * without us. If it had come back before, the image is the snapshot's, and stays.
   */
  async recover(domain: Domain, { operation, phase, memoryPath }: Interruption): Promise<void> {
    const { upstream, events, launcher } = this.#options;
    const scratch = this.scratch(domain.ref);
    const path = operation === 'create' && memoryPath !== undefined ? memoryPath : scratch;
    const away = path === scratch || AWAY.has(phase);
    if (away && !isActive(domain) && (await imageExists(path))) {
      const { xml } = await imageDefinition(upstream, path);
      const saved = checkImageOwner(domain.ref, { path, xml });
      const definition = domain.persistent
        ? withNameAndImages(saved, await domainDefinition(upstream, domain, 'persistent'))
        : saved;
      const back = await launcher.restore(domain.ref, path, { definition });
      events.emit(back, LIFECYCLE.STARTED_RESTORED);
    }
    await rm(scratch, { force: true });
  }
}
