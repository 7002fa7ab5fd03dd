/** The definition in a saved image, and the one that takes its place for the time of a restore. */

import { isLibvirtError } from '../../errors.ts';
import { checkLibxlStream, checkRoomFor, readMemoryImage, rewriteDomainXml } from '../../memory/image-file.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { renamed, withDiskImages } from '../../xml/domain/definition.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkImageOwner, checkSavedDefinition } from '../saved-definition.ts';
import { SAVE_IMAGE_SECURE, type Upstream } from './upstream.ts';

/** Who reads and changes the definition in an image: libvirtd if its driver can, else we do (libxl's driver cannot). */
interface ImageDefinition {
  readonly xml: string;
  write(xml: string): Promise<void>;
  /**
   * Refuses an image whose guest would notice that it goes on with the definition, and what `write` would refuse. The image
   * is afterwards what it was.
   */
  check(ref: DomainRef, definition: DomainDefinition): Promise<void>;
}

/** Refuses an image that is not this domain's, that is damaged, or whose guest cannot go on with `definition`. Reads only. */
export async function checkSavedImage(
  upstream: Upstream,
  ref: DomainRef,
  path: string,
  definition: DomainDefinition,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  checkImageOwner(ref, { path, xml: image.xml });
  await image.check(ref, definition);
}

/**
 * Restores with `definition`: libvirtd starts what the image says, so nothing of the image's own definition may be left
 * in it. Afterwards, well or badly, the image is what it was.
 */
export async function restoredAs(
  upstream: Upstream,
  path: string,
  definition: DomainDefinition,
  restore: () => Promise<void>,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  const wanted = writeElement(definition.element);
  if (wanted === image.xml) {
    await restore();
    return;
  }
  await image.write(wanted);
  try {
    await restore();
  } finally {
    await image.write(image.xml);
  }
}

/** Of a domain that was saved and is to come back: `saved` under the name that it has now, on the images it has now. */
export function withNameAndImages(saved: DomainDefinition, { element, images }: DomainDefinition): DomainDefinition {
  const known = [...images].filter(([disk]) => saved.images.has(disk));
  return withDiskImages(renamed(saved, domainName(element)), new Map(known));
}

export async function imageDefinition(upstream: Upstream, path: string): Promise<ImageDefinition> {
  try {
    const xml = await upstream.saveImageGetXMLDesc(path, SAVE_IMAGE_SECURE);
    const write = (changed: string): Promise<void> => upstream.saveImageDefineXML(path, changed, 0);
    // Drivers complete a definition before they compare it: only they can say whether it is the same guest.
    const check: ImageDefinition['check'] = async (_ref, definition) => {
      await write(writeElement(definition.element));
      await write(xml);
    };
    return { xml, write, check };
  } catch (error) {
    if (!isLibvirtError(error, 'NO_SUPPORT')) throw error;
    const image = await readMemoryImage(path);
    return {
      xml: image.domainXml,
      write: (xml) => rewriteDomainXml(path, xml),
      check: async (ref, definition) => {
        checkSavedDefinition(ref, { path, xml: image.domainXml }, definition);
        checkRoomFor(image, writeElement(definition.element));
        await checkLibxlStream(image);
      },
    };
  }
}
