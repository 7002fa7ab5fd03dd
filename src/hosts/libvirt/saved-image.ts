/** The definition in a saved image: whose memory it holds, and another one for the time of a restore. */

import { isLibvirtError } from '../../errors.ts';
import { checkLibxlStream, checkRoomFor, readMemoryImage, rewriteDomainXml } from '../../memory/image-file.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { XmlElement } from '../../model/element.ts';
import { domainName, parseDomain, renamed } from '../../xml/domain/domain.ts';
import { diskImages, withDiskImages } from '../../xml/domain/images.ts';
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
  definition: XmlElement,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  const own = checkImageOwner(ref, image.xml);
  await image.check(writeElement(changed(own, definition)));
}

/** Restores with the name and the disks of `definition`. Afterwards, well or badly, the image is what it was. */
export async function restoredAs(
  upstream: Upstream,
  path: string,
  definition: XmlElement,
  restore: () => Promise<void>,
): Promise<void> {
  const image = await imageDefinition(upstream, path);
  const own = parseDomain(image.xml);
  const wanted = changed(own, definition);
  if (wanted === own) {
    await restore();
    return;
  }
  await image.write(writeElement(wanted));
  try {
    await restore();
  } finally {
    await image.write(image.xml);
  }
}

/** `own` with the name and the images of `definition`; itself where it has them already. */
export function changed(own: XmlElement, definition: XmlElement): XmlElement {
  const now = diskImages(own);
  const moved = [...diskImages(definition)].filter(([disk, { path }]) => now.has(disk) && now.get(disk)?.path !== path);
  const name = domainName(definition);
  const named = domainName(own) === name ? own : renamed(own, name);
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
