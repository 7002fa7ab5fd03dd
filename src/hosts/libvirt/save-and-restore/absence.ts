/**
 * The time for which a domain is saved: libvirtd has its memory in a file, and nobody has its disks open. Whatever happens
 * to the work that is done then, the domain comes back.
 */

import { lstat } from 'node:fs/promises';
import { withKinds } from '../../../disks/overlays/overlays.ts';
import { asLibvirtError, LibvirtError, neverAborted } from '../../../errors.ts';
import type { DiskImage } from '../../../model/disk-image.ts';
import type { Domain, DomainDefinition, DomainRef, DomainState } from '../../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../../model/events.ts';
import { shellCommand } from '../../../model/messages/shell-command.ts';
import type { OfflineDisks } from '../../../snapshots/ports/disks.ts';
import type { LifecycleEvents } from '../../../snapshots/ports/host.ts';
import type { LiveDisks } from '../../../snapshots/ports/store.ts';
import { withDiskImages } from '../../../xml/domain/definition.ts';
import { startFiles } from '../../../xml/domain/start-files.ts';
import { liveDefinition } from '../definition.ts';
import type { Departures } from '../departures.ts';
import { byName, makeImage, type NewImage } from '../held-image.ts';
import { hideEvents } from '../hidden-events.ts';
import type { Launcher } from '../launch.ts';
import { checkHostParts } from '../resources/host-parts.ts';
import type { Upstream } from '../upstream.ts';
import { upstreamIdle } from '../wait-until-idle.ts';
import type { SavedDomains } from './saved-domains.ts';

/** virConnectGetType of the driver that also emits an event for the pause at the beginning of its save. */
const QEMU = 'QEMU';

/** The parts that absences use. */
export interface AbsencesOptions {
  readonly upstream: Upstream;
  /** The upstream's virConnectGetType. */
  readonly driver: string;
  readonly events: LifecycleEvents;
  readonly launcher: Launcher;
  readonly departures: Departures;
  readonly images: Pick<OfflineDisks, 'checkStart'>;
  /** Overlays that domains use since an earlier daemon took snapshots by libxl, and that libvirtd does not know. */
  readonly liveDisks: LiveDisks;
  readonly savedDomains: SavedDomains;
}

/** Work that is done while a domain is saved. */
export interface Absence {
  readonly memoryPath: string;
  /** Called before the domain is saved, with the definition that it has. */
  saving?(definition: DomainDefinition): Promise<void>;
  /** Adds to `images` the active images of disks for the restore, by target, also if it fails after that. */
  work(images: Map<string, DiskImage>): Promise<void>;
  /** For the error message if the restore fails: what the work has left. */
  readonly leaves?: string;
}

/** The absences of one upstream's domains. */
export class Absences {
  readonly #upstream: Upstream;
  readonly #driver: string;
  readonly #events: LifecycleEvents;
  readonly #launcher: Launcher;
  readonly #departures: Departures;
  readonly #images: Pick<OfflineDisks, 'checkStart'>;
  readonly #liveDisks: LiveDisks;
  readonly #savedDomains: SavedDomains;

  constructor(options: AbsencesOptions) {
    this.#upstream = options.upstream;
    this.#driver = options.driver;
    this.#events = options.events;
    this.#launcher = options.launcher;
    this.#departures = options.departures;
    this.#images = options.images;
    this.#liveDisks = options.liveDisks;
    this.#savedDomains = options.savedDomains;
  }

  /** The live definition with the images that the domain's disks really use: it must be restored on those. */
  definition(domain: Domain): Promise<DomainDefinition> {
    return liveDefinition(this.#upstream, this.#liveDisks, domain);
  }

  /** Refuses to end a domain that needs what is not there when it is to come back from its memory. */
  async checkReturn(definition: DomainDefinition): Promise<void> {
    await this.#images.checkStart(startFiles(definition, 'restore'));
    await checkHostParts(this.#upstream, definition);
  }

  /** Restores the domain in any case. If the work has failed, removes the memory image after the restore. */
  async whileAway(domain: Domain, absence: Absence): Promise<void> {
    const { ref, state } = domain;
    const { memoryPath } = absence;
    if (memoryPath === this.#savedDomains.scratch(ref)) await refuseLink(memoryPath);
    // From here on an image with contents is what libvirtd has saved.
    await using image = await makeImage(this.#upstream, memoryPath);
    const definition = await this.#save(domain, absence, image);
    const images = new Map<string, DiskImage>();
    const failure = await outcome(async () => {
      await image.requirePlace();
      await absence.work(images);
    });
    const returning = withDiskImages(definition, await withKinds(images));
    const lost = await outcome(() =>
      this.#launcher.restoreHeld(ref, image, { paused: state === 'paused', definition: returning }),
    );
    if (lost) throw failure ? notRestored(ref, { memoryPath }, lost, failure) : notRestored(ref, absence, lost);
    if (!failure) return;
    await image.remove();
    throw failure;
  }

  async #prepare(domain: Domain, absence: Absence): Promise<DomainDefinition> {
    const definition = await this.definition(domain);
    await this.checkReturn(definition);
    await absence.saving?.(definition);
    return definition;
  }

  /** Returns the definition that the domain has been saved with. */
  async #save(domain: Domain, absence: Absence, image: NewImage): Promise<DomainDefinition> {
    const { ref, state } = domain;
    const definition = await this.#prepare(domain, absence).catch(async (error) => {
      await image.remove();
      throw error;
    });
    using _hidden = hideEvents(this.#events, ref.uuid, eventsOfSave(this.#driver, state));
    try {
      await this.#departures.withReturn(ref, () => byName(image, (at) => this.#upstream.saveFlags(ref, at, 0)));
      return definition;
    } catch (error) {
      // If the connection to libvirtd was lost, libvirtd may still write the image, or it may be all that is left of
      // the guest.
      const now = await upstreamIdle(this.#upstream, ref, { signal: neverAborted() })
        .then(() => this.#upstream.lookupByUUID(ref.uuid))
        .catch(() => undefined);
      if (now?.id !== ref.id) throw notRestored(ref, { memoryPath: image.path }, asLibvirtError(error));
      await image.remove();
      throw error;
    }
  }
}

/** The events that libvirtd sends when it saves a domain. The qemu driver reports the process, too: its end only in newer libvirts. */
function eventsOfSave(driver: string, state: DomainState): readonly LifecycleEvent[] {
  const { STOPPED_SAVED, SHUTDOWN_HOST, SUSPENDED_PAUSED } = LIFECYCLE;
  if (driver !== QEMU) return [STOPPED_SAVED];
  return [STOPPED_SAVED, SHUTDOWN_HOST, ...(state === 'running' ? [SUSPENDED_PAUSED] : [])];
}

/** libvirtd, which may be root, would follow a link and write to its target. */
async function refuseLink(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isSymbolicLink()) return;
  throw new LibvirtError(
    'OPERATION_FAILED',
    `'${path}' is a symbolic link, not a file that xlsnapd has made: remove it`,
  );
}

/** The error of work that may fail. */
export async function outcome(work: () => Promise<unknown>): Promise<LibvirtError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return asLibvirtError(error);
  }
}

function notRestored(
  { name }: DomainRef,
  { memoryPath, leaves }: Pick<Absence, 'memoryPath' | 'leaves'>,
  lost: LibvirtError,
  failure?: LibvirtError,
): LibvirtError {
  const text = [
    ...(failure ? [failure.detail] : []),
    `domain '${name}' was saved and could not be restored: ${lost.detail}`,
    `its memory is in '${memoryPath}'; if the domain is off, this starts it again: ${shellCommand('virsh', 'restore', memoryPath)}`,
    ...(leaves ? [leaves] : []),
  ];
  return new LibvirtError('OPERATION_FAILED', text.join('; '), { cause: lost, reason: 'not-restored' });
}
