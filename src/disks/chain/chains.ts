/**
 * The one reader of backing chains. It follows them as QEMU would, from headers that are read in this process: a chain of
 * qcow2 images starts no program, whatever its length.
 */

import { asLibvirtError, isLibvirtError, LibvirtError, systemError } from '../../errors.ts';
import { openImage, requireImageFile } from '../../files/open-image.ts';
import type { BackingChain, ChainLayer, DiskImage } from '../../model/disk-image.ts';
import { fileKey, keyOf, keysBelow } from '../file-key.ts';
import { type BackingName, readBackingName, readDataFileName } from './backing-name.ts';
import type { ImageHeader } from './header-fields.ts';
import { readHeader } from './image-header.ts';

/** libvirt's limit (VIR_STORAGE_MAX_CHAIN_DEPTH). */
const MAX_LAYERS = 200;

/** One layer, and what its header names. */
interface ReadLayer {
  readonly layer: ChainLayer;
  readonly dataFiles: readonly BackingName[];
  readonly backing: BackingName | undefined;
}

/**
 * The chain of each image, in the same order. Each file is read once, however many of the chains it is in. Never rejects:
 * a chain that cannot be followed to its end says why. Reads only, also while the images are in use.
 */
export async function readChains(images: readonly DiskImage[]): Promise<readonly BackingChain[]> {
  const read = new Map<string, Promise<ReadLayer>>();
  const layerOf = (path: string, format: string | undefined): Promise<ReadLayer> => {
    const key = `${format ?? ''}\0${path}`;
    const layer = read.get(key) ?? readLayer(path, format);
    read.set(key, layer);
    return layer;
  };
  const chains: BackingChain[] = [];
  for (const image of images) chains.push(await follow(image, layerOf));
  return chains;
}

/** readChains of one image. */
export async function readChain(image: DiskImage): Promise<BackingChain> {
  const [chain] = await readChains([image]);
  return chain as BackingChain;
}

/** The image that the header of `image` names, if it has one on this host. Rejects if the header cannot be read. */
export async function backingImage(image: DiskImage): Promise<DiskImage | undefined> {
  const { layers, broken } = await readChain(image);
  if (broken?.image.path === image.path && layers.length === 0) throw broken.error;
  return layers[1] ?? (layers.length === 1 ? broken?.image : undefined);
}

/** True if the header of `image` names `base`, by whatever name. */
export async function isOverlayOf(image: DiskImage, base: DiskImage): Promise<boolean> {
  const backing = await backingImage(image);
  return backing !== undefined && (await fileKey(backing.path)) === (await fileKey(base.path));
}

async function follow(
  top: DiskImage,
  layerOf: (path: string, format: string | undefined) => Promise<ReadLayer>,
): Promise<BackingChain> {
  const layers: ChainLayer[] = [];
  const dataFiles: string[] = [];
  const seen = new Set<string>();
  let next: BackingName | undefined = { kind: 'file', ...top };
  while (next) {
    if (next.kind === 'remote') return { layers, dataFiles, remote: next.name };
    const { path, format = 'raw' } = next.kind === 'file' ? next : { path: next.name };
    const broken = (error: LibvirtError): BackingChain => ({
      ...{ layers, dataFiles },
      broken: { image: { path, format }, error },
    });
    if (next.kind === 'unknown')
      return broken(failed(`backing image '${next.name}' of image '${layers.at(-1)?.path}' ${next.reason}`));
    if (layers.length === MAX_LAYERS) return broken(failed(`the chain has more than ${MAX_LAYERS} images`));
    const found: ReadLayer | LibvirtError = await layerOf(next.path, next.format).catch(asLibvirtError);
    if (found instanceof LibvirtError) return broken(found);
    const { layer } = found;
    if (seen.has(layer.key)) return broken(failed(`image '${path}' is its own backing image`));
    seen.add(layer.key);
    layers.push(layer);
    if (layer.block) dataFiles.push(...(await keysBelow(layer.path)));
    for (const file of found.dataFiles) {
      if (file.kind !== 'file') return broken(failed(`data file '${file.name}' of image '${path}' ${reasonOf(file)}`));
      dataFiles.push(await fileKey(file.path));
    }
    next = found.backing;
  }
  return { layers, dataFiles };
}

/**
 * Refuses (OPERATION_FAILED) an image if its chain cannot be followed, or a data file of the chain is a pipe, say: for a program that
 * opens them all, and would wait for it. A missing data file is the program's to name.
 */
export async function requireFiles(image: DiskImage): Promise<void> {
  const { layers, broken } = await readChain(image);
  if (broken) throw broken.error;
  for (const layer of layers) {
    const { dataFiles } = await headerOf(layer);
    for (const file of dataFiles.map(readDataFileName)) {
      if (file.kind !== 'file') continue;
      await requireImageFile(file.path).catch((error) => {
        if (isLibvirtError(error)) throw failed(`data file of image '${layer.path}': ${error.detail}`, error);
      });
    }
  }
}

/** What the header of an image says, as it stands there. An error names the image. */
export async function headerOf({ path, format }: DiskImage): Promise<ImageHeader> {
  return (await look(path, format)).header;
}

async function readLayer(path: string, format: string | undefined): Promise<ReadLayer> {
  const { key, isBlock, header } = await look(path, format);
  const { backing, dataFiles } = header;
  return {
    layer: { path, format: header.format, ...(isBlock && { block: true }), key },
    backing: backing && readBackingName(backing.name, { ...backing, overlay: path }),
    dataFiles: dataFiles.map(readDataFileName),
  };
}

/** The format of an image by its contents, as QEMU guesses it. An error names the image. */
export async function probedFormat(path: string): Promise<string> {
  return (await look(path, undefined)).header.format;
}

interface Looked {
  readonly key: string;
  readonly isBlock: boolean;
  readonly header: ImageHeader;
}

/** `format`: undefined if QEMU is to probe it. */
async function look(path: string, format: string | undefined): Promise<Looked> {
  const failure = `cannot read image '${path}'`;
  try {
    await using file = await openImage(path);
    const found = await file.stat({ bigint: true });
    return { key: await keyOf(found), isBlock: found.isBlockDevice(), header: await readHeader(path, file, format) };
  } catch (error) {
    if (error instanceof LibvirtError) throw failed(`${failure}: ${error.detail}`, error);
    const { code } = error as NodeJS.ErrnoException;
    const { detail } = systemError(error, failure);
    throw new LibvirtError('OPERATION_FAILED', detail, {
      cause: error,
      ...(code === 'ENOENT' && { reason: 'image-missing' }),
    });
  }
}

function reasonOf(file: BackingName): string {
  return file.kind === 'unknown' ? file.reason : 'is not on this host';
}

function failed(text: string, cause?: unknown): LibvirtError {
  return new LibvirtError('OPERATION_FAILED', text, { cause });
}
