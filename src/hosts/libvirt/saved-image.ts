/** The definition in a saved image: whose memory it holds, and another one for the time of a restore. */

import { isLibvirtError } from '../../errors.ts';
import { checkLibxlStream, checkRoomFor, readMemoryImage, rewriteDomainXml } from '../../memory/image-file.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { parseDefinition, renamed, withDiskImages } from '../../xml/domain/definition.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkImageOwner } from '../image-owner.ts';
import { SAVE_IMAGE_SECURE, type Upstream } from './upstream.ts';

/** Who reads and changes the definition in an image: libvirtd where its driver can, else we, for libxl's cannot. */
export interface ImageDefinition {
  readonly xml: string;
  write(xml: string): Promise<void>;
  /** Refuses what `write` and the restore would refuse. Reads only. */
  check(xml: string): Promise<void>;
}

/** Refuses an image that is not this domain's, that is damaged, or that the new definition does not fit into. */
export async function checkSavedImage(
  upstream: Upstream,
  ref: DomainRef,
  path: string,
  definition: DomainDefinition,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  const own = checkImageOwner(ref, image.xml);
  await image.check(writeElement(changed(own, definition).element));
}

/** Restores with the name and the disks of `definition`. Afterwards, well or badly, the image is what it was. */
export async function restoredAs(
  upstream: Upstream,
  path: string,
  definition: DomainDefinition,
  restore: () => Promise<void>,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  const own = parseDefinition(image.xml);
  const wanted = changed(own, definition);
  if (wanted === own) {
    await restore();
    return;
  }
  await image.write(writeElement(wanted.element));
  try {
    await restore();
  } finally {
    await image.write(image.xml);
  }
}

/** `own` with the name and the images of `definition`; itself where it has them already. */
export function changed(own: DomainDefinition, definition: DomainDefinition): DomainDefinition {
  const moved = [...definition.images].filter(
    ([disk, { path }]) => own.images.has(disk) && own.images.get(disk)?.path !== path,
  );
  const name = domainName(definition.element);
  const named = domainName(own.element) === name ? own : renamed(own, name);
  return moved.length === 0 ? named : withDiskImages(named, new Map(moved));
}

export async function imageDefinition(upstream: Upstream, path: string): Promise<ImageDefinition> {
  try {
    const xml = await upstream.saveImageGetXMLDesc(path, SAVE_IMAGE_SECURE);
    return { xml, write: (changedXml) => upstream.saveImageDefineXML(path, changedXml, 0), check: async () => {} };
  } catch (error) {
    if (!isLibvirtError(error, 'NO_SUPPORT')) throw error;
    const image = await readMemoryImage(path);
    return {
      xml: image.domainXml,
      write: (xml) => rewriteDomainXml(path, xml),
      check: async (xml) => {
        checkRoomFor(image, xml);
        await checkLibxlStream(image);
      },
    };
  }
}
