/** The definitions in images of saved domains: shown, and replaced by others with which the guest can go on. */

import { LibvirtError } from '../../errors.ts';
import { statIfThere } from '../../files/answering.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { refuseUnknownFlags, XML } from '../../model/flags.ts';
import { checkAbiStability } from '../../xml/abi/stability.ts';
import { withDefaults } from '../../xml/domain/defaults.ts';
import { definitionOf, parseDefinition } from '../../xml/domain/definition.ts';
import { domainName, domainUuid, parseDomain } from '../../xml/domain/domain.ts';
import { inactiveFormat, withoutSecrets } from '../../xml/domain/formats.ts';
import { writeElement } from '../../xml/engine/write.ts';
import type { SaveImageApi } from '../api.ts';
import type { SnapshotContext } from '../context.ts';
import { ownFileAt } from '../own-files.ts';
import type { SavedImages } from '../ports/saves.ts';

/** The API over the images of one host. */
export class SaveImageService implements SaveImageApi {
  readonly #context: Pick<SnapshotContext, 'host' | 'jobs' | 'ownFiles'>;
  readonly #images: SavedImages;

  constructor(context: Pick<SnapshotContext, 'host' | 'jobs' | 'ownFiles'>, images: SavedImages) {
    this.#context = context;
    this.#images = images;
  }

  async owner(path: string): Promise<DomainRef> {
    return refOf(path, await this.#saved(path));
  }

  async xmlDesc(path: string, flags: number): Promise<string> {
    refuseUnknownFlags(flags, XML.SECURE, 'libxlDomainSaveImageGetXMLDesc');
    const { element } = await this.#saved(path);
    return writeElement(flags & XML.SECURE ? element : withoutSecrets(element));
  }

  /** The image says nothing of the guest's state that a flag could change. */
  async defineXML(path: string, xml: string, flags: number): Promise<void> {
    refuseUnknownFlags(flags, 0, 'libxlDomainSaveImageDefineXML');
    const own = await ownFileAt(this.#context, path);
    if (own !== undefined) {
      const text = `memory image '${path}' is among xlsnapd's own files, '${own}': a revert does not use the definition in it`;
      throw new LibvirtError('CONFIG_UNSUPPORTED', text);
    }
    await this.#define(await this.owner(path), path, xml);
  }

  async managedXMLDesc(domain: DomainRef, flags: number): Promise<string> {
    return await this.xmlDesc(await this.#managed(domain), flags);
  }

  async managedDefineXML(domain: DomainRef, xml: string, flags: number): Promise<void> {
    refuseUnknownFlags(flags, 0, 'libxlDomainManagedSaveDefineXML');
    await this.#define(domain, await this.#managed(domain), xml);
  }

  async #managed(domain: DomainRef): Promise<string> {
    const path = this.#images.managedPath((await this.#context.host.lookup(domain)).ref);
    if (await statIfThere(path)) return path;
    throw new LibvirtError('OPERATION_INVALID', 'domain does not have managed save image');
  }

  async #define(domain: DomainRef, path: string, xml: string): Promise<void> {
    const wanted = inactiveFormat(withDefaults(parseDomain(xml)));
    await this.#context.jobs.exclusive(domain, async () => {
      const saved = await this.#saved(path);
      checkAbiStability(saved.element, wanted);
      const [before, after] = [saved.element, wanted].map(writeElement);
      if (after !== undefined && after !== before) await this.#images.write(path, after);
    });
  }

  async #saved(path: string): Promise<DomainDefinition> {
    if (!path.startsWith('/')) throw new LibvirtError('INVALID_ARG', `'${path}' is not an absolute path`);
    return definitionOf(inactiveFormat(parseDefinition(await this.#images.read(path)).element));
  }
}

function refOf(path: string, { element }: DomainDefinition): DomainRef {
  const uuid = domainUuid(element);
  if (uuid !== undefined) return { name: domainName(element), uuid, id: -1 };
  throw new LibvirtError('OPERATION_FAILED', `the definition in memory image '${path}' has no UUID`);
}
