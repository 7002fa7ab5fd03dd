/**
 * Saves of domains on overlays that libvirtd does not know. libvirtd saves the definition that it has, which names the base
 * images, and would restore the domain on those: so the image gets its name only when it names the overlays.
 */

import { lstat, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, isLibvirtError, LibvirtError, neverAborted } from '../../../errors.ts';
import { requireFreeSpace } from '../../../memory/free-space.ts';
import type { Domain, DomainDefinition, DomainRef } from '../../../model/domain.ts';
import { shellCommand } from '../../../model/messages/shell-command.ts';
import { partialOf } from '../../../model/phases.ts';
import type { DomainSaves, PlannedSave, RecordedSave } from '../../../snapshots/ports/saves.ts';
import type { LiveDisks } from '../../../snapshots/ports/store.ts';
import { definitionOf, parseDefinition, withDiskImages } from '../../../xml/domain/definition.ts';
import { domainMemoryKib } from '../../../xml/domain/domain.ts';
import { inactiveFormat } from '../../../xml/domain/formats.ts';
import { writeElement } from '../../../xml/engine/write.ts';
import { byName, findImage, makeImage, type NewImage } from '../held-image.ts';
import { imageDefinition } from '../saved-image.ts';
import type { Upstream } from '../upstream.ts';
import { upstreamIdle } from '../wait-until-idle.ts';
import { ManagedLink, removeLink } from './managed-link.ts';
import { makeRoom, removeRoom, withoutRoom } from './room.ts';

/** A device model that ends may write to its images a moment after the memory has been saved. */
const SAME_RUN_MS = 10_000;

interface OverlaidSavesOptions {
  readonly upstream: Upstream;
  readonly liveDisks: Pick<LiveDisks, 'of'>;
  /** The folder in which libvirtd keeps managed saves as `NAME.save`; undefined if its driver keeps them otherwise. */
  readonly managedSaveDir?: string;
}

/** Saves by libvirtd. */
export class SavesOnOverlays implements DomainSaves {
  readonly #upstream: Upstream;
  readonly #liveDisks: Pick<LiveDisks, 'of'>;
  readonly #managedSaveDir: string | undefined;

  constructor({ upstream, liveDisks, managedSaveDir }: OverlaidSavesOptions) {
    this.#upstream = upstream;
    this.#liveDisks = liveDisks;
    this.#managedSaveDir = managedSaveDir;
  }

  async plan({ ref }: Domain, to: string | undefined): Promise<PlannedSave> {
    const shown = parseDefinition(await this.#upstream.getXMLDesc(ref, 0));
    const moves = [...this.#liveDisks.of(ref, shown.disks)].flatMap(([disk, active]) => {
      const from = shown.images.get(disk);
      return from ? [{ disk, from, to: active }] : [];
    });
    const path = to ?? this.#managedSavePath(ref);
    await requireFreeSpace(path, domainMemoryKib(shown.element), { live: false });
    return { domain: ref, path, managed: to === undefined, moves };
  }

  async carryOut(save: PlannedSave): Promise<void> {
    const { domain, path, managed } = save;
    await using image = await makeImage(this.#upstream, partialOf(path));
    const removed = async (error: unknown): Promise<never> => {
      await image.remove();
      throw error;
    };
    await using link = managed ? await ManagedLink.make(path, image).catch(removed) : undefined;
    await using _room = await this.#room(save).catch(removed);
    try {
      await byName(image, (at) =>
        link ? link.whileWritten(() => this.#upstream.managedSave(domain)) : this.#upstream.saveFlags(domain, at, 0),
      );
    } catch (error) {
      // If the connection to libvirtd was lost, libvirtd may still write the image, or it may be all that is left of the guest.
      const runs = await this.#stillRuns(domain).catch((lost) => {
        throw unfinished(save, asLibvirtError(lost));
      });
      if (runs) await removed(error);
    }
    await this.#complete(save, image).catch((error) => {
      throw unfinished(save, asLibvirtError(error));
    });
  }

  async finish(save: RecordedSave): Promise<string> {
    const { domain, path, managed, sameBoot } = save;
    const now = await this.#lookup(domain);
    if (now?.id === domain.id && sameBoot) await removeRoom(this.#upstream, domain);
    const reason = await this.#whyUseless(save, now);
    await using image = await findImage(this.#upstream, partialOf(path)).catch((error) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const isEmpty = !image || (await stat(image.at)).size === 0;
    if (image && !isEmpty && reason === undefined) {
      await this.#complete(save, image);
      return 'it is complete now';
    }
    await image?.remove();
    if (managed) await removeLink(path);
    return isEmpty ? 'nothing had been saved yet' : (reason ?? '');
  }

  /** Undefined if the image may be all that is left of the guest. */
  async #whyUseless(
    { domain, path, managed, moves, sameBoot }: RecordedSave,
    now: DomainRef | undefined,
  ): Promise<string | undefined> {
    if (!sameBoot) return 'the host has been started since, and what was saved is not whole';
    if (now?.id === domain.id) return 'the domain runs on, and nothing is left of it';
    const ranSince = 'the domain has run since, and what was saved is removed';
    if (now && now.id >= 0) return ranSince;
    if (!managed) return undefined;
    if ((await lstat(path).catch(() => undefined))?.isFile()) return ranSince;
    const saved = await stat(partialOf(path)).catch(() => undefined);
    for (const { to } of moves) {
      const image = await stat(to.path).catch(() => undefined);
      // Of a block device nobody can tell.
      if (saved && image && (!image.isFile() || image.mtimeMs > saved.mtimeMs + SAME_RUN_MS)) return ranSince;
    }
    return undefined;
  }

  /** For the definition on the overlays in place of that which libvirtd will write. */
  async #room({ domain, moves }: PlannedSave): Promise<AsyncDisposable> {
    const xml = await this.#upstream.getXMLDesc(domain, 0);
    const wanted = writeElement(onOverlays(parseDefinition(xml), moves).element);
    return await makeRoom(this.#upstream, domain, Buffer.byteLength(wanted) - Buffer.byteLength(xml));
  }

  /** Refuses an image that is cut off. */
  async #complete({ domain, path, moves }: PlannedSave, image: NewImage): Promise<void> {
    await byName(image, async (at) => {
      const saved = await imageDefinition(this.#upstream, at);
      const definition = onOverlays(parseDefinition(saved.xml), moves);
      await saved.check(domain, definition);
      await saved.write(writeElement(definition.element));
    });
    await image.keepAs(path);
  }

  async #stillRuns(domain: DomainRef): Promise<boolean> {
    await upstreamIdle(this.#upstream, domain, { signal: neverAborted() });
    return (await this.#lookup(domain))?.id === domain.id;
  }

  async #lookup({ uuid }: DomainRef): Promise<DomainRef | undefined> {
    return await this.#upstream.lookupByUUID(uuid).catch((error) => {
      if (!isLibvirtError(error, 'NO_DOMAIN')) throw error;
      return undefined;
    });
  }

  #managedSavePath({ name }: DomainRef): string {
    if (this.#managedSaveDir !== undefined) return join(this.#managedSaveDir, `${name}.save`);
    const text = `domain '${name}' runs on overlays of external snapshots that its own libvirtd does not know: save it to a file instead ('virsh save')`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
}

/** A disk that is on another image than when the save was planned stays on that. */
function onOverlays(saved: DomainDefinition, moves: PlannedSave['moves']): DomainDefinition {
  const concerned = moves.filter(({ disk, from }) => saved.images.get(disk)?.path === from.path);
  const moved = withDiskImages(saved, new Map(concerned.map(({ disk, to }) => [disk, to])));
  return definitionOf(inactiveFormat(withoutRoom(moved.element)));
}

function unfinished({ domain, path }: PlannedSave, cause: LibvirtError): LibvirtError {
  const text =
    `domain '${domain.name}' may have been saved, and its image could not be completed: ${cause.detail}; its memory is in ` +
    `'${partialOf(path)}', which names the images below its overlays: do not restore it; when the reason is gone, run: ` +
    shellCommand('systemctl', 'restart', 'xlsnapd');
  return new LibvirtError('OPERATION_FAILED', text, { cause, reason: 'save-unfinished' });
}
