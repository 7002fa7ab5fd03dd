/** For the proxy: running domains on overlays that libvirtd does not know, as clients are to see them, and what is refused. */

import { isLibvirtError, LibvirtError } from '../../../errors.ts';
import type { DiskImage } from '../../../model/disk-image.ts';
import type { DomainDefinition, DomainRef } from '../../../model/domain.ts';
import { domainCommand } from '../../../model/messages/shell-command.ts';
import type { LiveDisks } from '../../../snapshots/ports/store.ts';
import { definitionOf, parseDefinition, withDiskImages } from '../../../xml/domain/definition.ts';
import { domainName, domainUuid, restartingEvent } from '../../../xml/domain/domain.ts';
import { writeElement } from '../../../xml/engine/write.ts';
import type { Upstream } from '../upstream.ts';
import { withoutRoom } from './room.ts';

interface OverlaidDomainsOptions {
  readonly upstream: Pick<Upstream, 'lookupByUUID' | 'getXMLDesc'>;
  readonly liveDisks: LiveDisks;
  /** Forgets overlays of disks that the domain does not have any more. */
  readonly devicesChanged: (ref: DomainRef) => Promise<void>;
}

/** The domains of one libvirtd. */
export class OverlaidDomains {
  readonly #options: OverlaidDomainsOptions;

  constructor(options: OverlaidDomainsOptions) {
    this.#options = options;
  }

  any(): boolean {
    return this.#options.liveDisks.any;
  }

  has(uuid: string): boolean {
    return this.#options.liveDisks.has(uuid);
  }

  definition(xml: string): string {
    const definition = parseDefinition(xml);
    const images = this.#knownImages(refOf(definition), definition);
    if (images.size === 0) return xml;
    const shown = definitionOf(withoutRoom(definition.element));
    return writeElement(withDiskImages(shown, images).element);
  }

  async devicesChanged(ref: DomainRef): Promise<void> {
    await this.#options.devicesChanged(ref);
  }

  /** Without its persistent definition libvirtd would start it again from the live one. */
  async checkUndefine(ref: DomainRef): Promise<void> {
    const found = await this.#overlaid(ref);
    const event = found && restartingEvent(found.definition.element);
    if (!event) return;
    throw this.#refusal(
      found,
      `cannot be undefined: at its next start by <${event}> libvirtd would take the images below them`,
    );
  }

  async checkMigrate(ref: DomainRef): Promise<void> {
    const found = await this.#overlaid(ref);
    if (found) throw this.#refusal(found, 'cannot be migrated: its definition names the images below them');
  }

  /** Undefined if the domain runs on the images that libvirtd knows, or not at all. */
  async #overlaid({ uuid }: DomainRef): Promise<Overlaid | undefined> {
    if (!this.has(uuid)) return undefined;
    const { upstream, liveDisks } = this.#options;
    const ref = await upstream.lookupByUUID(uuid);
    if (ref.id < 0) return undefined;
    const definition = parseDefinition(await upstream.getXMLDesc(ref, 0));
    const disks = [...liveDisks.of(ref, definition.disks).keys()];
    return disks.length === 0 ? undefined : { ref, definition, disks };
  }

  #refusal({ ref, definition, disks }: Overlaid, what: string): LibvirtError {
    const merges = disks.map((disk) => {
      const base = definition.images.get(disk)?.path;
      const options = ['--active', '--pivot', ...(base === undefined ? [] : ['--base', base])];
      return domainCommand({ program: 'virsh', command: 'blockcommit', domain: ref, args: [disk], options });
    });
    const text =
      `domain '${ref.name}' runs on overlays of external snapshots that its own libvirtd does not know, and ${what}; ` +
      `shut it off first, or merge them: ${merges.join(' && ')}`;
    return new LibvirtError('OPERATION_INVALID', text);
  }

  /** If its record cannot be read, clients are shown libvirtd's own definition; what depends on the images is refused. */
  #knownImages(ref: DomainRef, { disks }: DomainDefinition): ReadonlyMap<string, DiskImage> {
    try {
      return this.#options.liveDisks.of(ref, disks);
    } catch (error) {
      if (isLibvirtError(error, 'OPERATION_INVALID')) return new Map();
      throw error;
    }
  }
}

/** A domain, its live definition as libvirtd has it, and the disks that are on overlays. */
interface Overlaid {
  readonly ref: DomainRef;
  readonly definition: DomainDefinition;
  readonly disks: readonly string[];
}

function refOf({ element }: DomainDefinition): DomainRef {
  return { name: domainName(element), uuid: domainUuid(element) ?? '', id: Number(element.attributes.id ?? -1) };
}
