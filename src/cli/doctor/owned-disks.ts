/** The disks and images of all domains. Reads only. */

import { libxlDeviceDisk, libxlDiskFormat } from '../../model/device-disk.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainRef } from '../../model/domain.ts';
import { XML } from '../../model/flags.ts';
import type { LibxlDeviceDisk } from '../../model/libxl.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { diskImages, parseDefinition } from '../../xml/domain/definition.ts';
import { orNone } from '../session.ts';
import { type FoundImage, imagesOfDisks } from '../storage/disk-images.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';

/** A disk, or an image in the backing chain of one, and a domain that has it. */
export interface OwnedDisk {
  readonly domain: DomainRef;
  readonly disk: LibxlDeviceDisk;
}

/** An image, and a domain that has it. */
export interface OwnedImage extends FoundImage {
  readonly domain: DomainRef;
  /** `xvda`: the disk in whose chains it is. */
  readonly target: string;
}

/** Of all domains, as they would start next. */
export async function nextDisks(client: RpcClient): Promise<readonly OwnedDisk[]> {
  const disks: OwnedDisk[] = [];
  for (const domain of await client.listAllDomains()) {
    const xml = await client.getXMLDesc(domain, XML.INACTIVE).catch(orNone('NO_DOMAIN'));
    const found = xml === undefined ? [] : parseDefinition(xml).disks;
    disks.push(...found.map((disk) => ({ domain, disk: libxlDeviceDisk(disk) })));
  }
  return disks;
}

/** Of all domains, as they run and as they would start next, and of their snapshots. Each once. */
export async function allImages(client: RpcClient, domains: readonly DomainFacts[]): Promise<readonly OwnedImage[]> {
  const found = new Map<string, OwnedImage>();
  for (const facts of domains) {
    const { domain } = facts;
    const xml = await client.getXMLDesc(domain, XML.INACTIVE).catch(orNone('NO_DOMAIN'));
    const next = xml === undefined ? new Map<string, DiskImage>() : diskImages(parseDefinition(xml).disks, 'disk');
    const disks = [
      ...(await imagesOfDisks(facts)),
      ...(await imagesOfDisks({ ...facts, snapshots: [], images: next })),
    ];
    for (const { target, images } of disks) {
      for (const image of images) found.set(image.path, { ...image, domain, target });
    }
  }
  return [...found.values()];
}

/** Any image of a backing chain, as a disk that QEMU serves. */
export function diskOfImage({ domain, target, path, format }: OwnedImage): OwnedDisk {
  return {
    domain,
    disk: { vdev: target, pdev_path: path, format: libxlDiskFormat(format) ?? 'unknown', backend: 'qdisk' },
  };
}
