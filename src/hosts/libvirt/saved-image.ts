/** The definition in a saved image: reads and checks it, and replaces it during a restore. */

import { isLibvirtError } from '../../errors.ts';
import { checkLibxlStream, checkRoomFor, readMemoryImage, rewriteDomainXml } from '../../memory/image-file.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { renamed, withDiskImages } from '../../xml/domain/definition.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { checkImageOwner, checkSavedDefinition } from '../saved-definition.ts';
import { byName, type HeldImage, holdImage } from './held-image.ts';
import { SAVE_IMAGE_SECURE, type Upstream } from './upstream.ts';

/** Access to the definition in an image: by libvirtd if its driver can, else by us (the libxl driver cannot). */
interface ImageDefinition {
  readonly xml: string;
  write(xml: string): Promise<void>;
  /**
   * Refuses an image whose guest would notice the change to `definition`, and everything that `write` would refuse.
   * Afterwards the image is what it was.
   */
  check(ref: DomainRef, definition: DomainDefinition): Promise<void>;
}

/**
 * Refuses an image that is not this domain's, that is damaged, or whose guest cannot continue with `definition`. Reads
 * only.
 */
export async function checkSavedImage(
  upstream: Upstream,
  ref: DomainRef,
  path: string,
  definition: DomainDefinition,
): Promise<void> {
  await using held = await holdImage(upstream, path);
  await byName(held, async (at) => {
    const image = await imageDefinition(upstream, at);
    checkImageOwner(ref, { path, xml: image.xml });
    await image.check(ref, definition);
  });
}

/**
 * Restores with `definition`: libvirtd starts what the image says, so nothing of the image's own definition may be left
 * in it. Afterwards the image is what it was, also if the restore fails.
 */
export async function restoredAs(
  upstream: Upstream,
  held: HeldImage,
  definition: DomainDefinition,
  restore: (at: string) => Promise<void>,
): Promise<void> {
  await byName(held, async (at) => {
    const image = await imageDefinition(upstream, at);
    const wanted = writeElement(definition.element);
    if (wanted === image.xml) {
      await restore(at);
      return;
    }
    await image.write(wanted);
    try {
      await restore(at);
    } finally {
      await image.write(image.xml);
    }
  });
}

/** Returns `saved`, a saved domain's definition, with the name and the images that the domain has now. */
export function withNameAndImages(saved: DomainDefinition, { element, images }: DomainDefinition): DomainDefinition {
  const known = [...images].filter(([disk]) => saved.images.has(disk));
  return withDiskImages(renamed(saved, domainName(element)), new Map(known));
}

/** Opens the definition in the image at `path`. */
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
