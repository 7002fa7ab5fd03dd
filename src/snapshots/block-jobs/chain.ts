/** A disk's backing chain, and the names by which clients call its images: the words and rules of the qemu driver. */

import { LibvirtError } from '../../errors.ts';
import type { ChainLayer, DiskImage } from '../../model/disk-image.ts';
import type { Domain, DomainDefinition } from '../../model/domain.ts';
import type { Looking } from '../context.ts';

/** A disk of an active domain. */
export interface DiskChain {
  /** Its target. */
  readonly disk: string;
  /** From the active image down. */
  readonly layers: readonly [ChainLayer, ...ChainLayer[]];
}

/** Finds a disk by its target or the path of its image (virDomainDiskByName). */
export function diskByName({ disks }: DomainDefinition, name: string): string {
  const found = disks.find(({ target }) => target === name) ?? disks.find(({ path }) => path === name);
  if (!found) throw invalid(`disk '${name}' not found in domain`);
  return found.target;
}

/** The active image of a disk. */
export function activeImage({ images }: DomainDefinition, disk: string, use: string): DiskImage {
  const image = images.get(disk);
  if (!image) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk ${disk} has no source file to be ${use}`);
  return image;
}

/** Reads the chain of a disk. Refuses one that cannot be followed. */
export async function readDiskChain(
  { host, images }: Looking,
  domain: Domain,
  name: string,
  use: string,
): Promise<DiskChain> {
  const definition = await host.definition(domain, 'live');
  const disk = diskByName(definition, name);
  const [chain] = await images.chains([activeImage(definition, disk, use)]);
  if (chain?.broken) throw chain.broken.error;
  const [active, ...backing] = chain?.layers ?? [];
  if (!active) throw new LibvirtError('CONFIG_UNSUPPORTED', `disk ${disk} has no source file to be ${use}`);
  return { disk, layers: [active, ...backing] };
}

/** `vda[2]`: the second backing image of the disk. */
const INDEX = /^(?<target>[^[\]]+)\[(?<index>\d+)\]$/;

/**
 * Finds an image of the chain (virStorageSourceChainLookup), by its path or as `TARGET[N]`; `above`: only below that one.
 * Without a name, the bottom.
 */
export async function imageInChain(
  { images }: Pick<Looking, 'images'>,
  { disk, layers }: DiskChain,
  name: string | undefined,
  above?: ChainLayer,
): Promise<ChainLayer> {
  const from = above ? layers.indexOf(above) + 1 : 0;
  if (name === undefined) {
    const bottom = layers.slice(from).at(-1);
    if (!bottom) throw invalid(`could not find base image in chain for '${disk}'`);
    return bottom;
  }
  const { target, index } = INDEX.exec(name)?.groups ?? {};
  if (target !== undefined && index !== undefined) {
    if (target !== disk) throw invalid(`requested target '${target}' does not match target '${disk}'`);
    const at = Number(index);
    const found = at >= from ? layers[at] : undefined;
    if (!found) throw invalid(`could not find backing store index '${index}' in chain for '${disk}'`);
    return found;
  }
  const key = await images.fileKey(name);
  const found = layers.slice(from).find((layer) => layer.path === name || layer.key === key);
  if (found) return found;
  // libvirt's words.
  const where = above ? ` beneath '${above.path}'` : '';
  throw invalid(`could not find image '${name}'${where} in chain for '${disk}'`);
}

/** The error for an argument that does not fit. */
export function invalid(text: string): LibvirtError {
  return new LibvirtError('INVALID_ARG', text);
}
