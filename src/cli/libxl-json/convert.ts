/**
 * A snapshot between libvirt's document and libxl's struct (schemas/libxl_snapshot.idl). The struct has no place for a
 * description, a state, a parent and definitions: those are found again where they can be, in the memory image's own
 * header and in the domain as it is.
 */

import { stat } from 'node:fs/promises';
import { imageInfo } from '../../disks/qemu/image-info.ts';
import { LibvirtError } from '../../errors.ts';
import { readMemoryImage } from '../../memory/image-file.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { XmlElement } from '../../model/element.ts';
import { XML } from '../../model/flags.ts';
import type { LibxlDiskSnapshot, LibxlDiskSnapshotResult, LibxlDomainSnapshot } from '../../model/libxl.ts';
import type { DiskSnapshot, MemorySnapshot, SnapshotDef } from '../../model/snapshot.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { domainDisks } from '../../xml/domain/disks.ts';
import { parseDomain } from '../../xml/domain/domain.ts';
import { withDiskImages } from '../../xml/domain/images.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';
import { memoryPath } from '../storage/domain-facts.ts';

/** What a save would have returned. Sizes and backing images are left out where they are not to be seen. */
export async function libxlSnapshotOf(
  domain: DomainRef,
  snapshot: SnapshotDef,
  memoryDir: string,
): Promise<LibxlDomainSnapshot> {
  const path = memoryPath(domain, snapshot, memoryDir);
  const bytes = path === undefined ? undefined : (await stat(path).catch(() => undefined))?.size;
  return {
    name: snapshot.name,
    ...(path !== undefined && { memory: true, memory_path: path }),
    ...(bytes !== undefined && { memory_bytes: bytes }),
    creation_time: Number(snapshot.creationTime),
    disks: await Promise.all(capturedDisks(snapshot).map(asFound)),
  };
}

async function asFound(captured: LibxlDiskSnapshot): Promise<LibxlDiskSnapshotResult> {
  const { disk, external, external_path } = captured;
  const path = external ? external_path : disk.pdev_path;
  const backing = external ? disk.pdev_path : await backingOf(disk.pdev_path, disk.format);
  return { ...captured, ...(path !== undefined && { path }), ...(backing !== undefined && { backing }) };
}

async function backingOf(path: string | undefined, format: string | undefined): Promise<string | undefined> {
  if (path === undefined || format === undefined) return undefined;
  const info = await imageInfo({ path, format }).catch(() => undefined);
  return info?.backing?.path;
}

/**
 * The snapshot to be redefined: of the domain that it was taken of, child of the one that is current now. What has memory
 * was running; what has none and lies inside the images was shut off, in layers over them it was running. Passwords
 * are not kept in memory images, and so are missing in the definition from there.
 */
export async function documentOf(
  client: RpcClient,
  domain: DomainRef,
  snapshot: LibxlDomainSnapshot,
  memoryDir: string,
): Promise<SnapshotDef> {
  const { name, disks = [] } = snapshot;
  const memory = memoryOf(domain, snapshot, memoryDir);
  const today = parseDomain(await client.getXMLDesc(domain, XML.INACTIVE | XML.SECURE));
  const present = withDiskImages(today, imagesOfThen(disks));
  const image = snapshot.memory_path === undefined ? undefined : await readImage(snapshot.memory_path, memoryDir);
  const definition = image ? parseDomain(image.domainXml) : present;
  const keepsInactive = image !== undefined && (await client.isPersistent(domain));
  const parent = (await client.snapshots.hasCurrent(domain, 0)) ? await client.snapshots.current(domain, 0) : undefined;
  return {
    name,
    ...(parent && { parent: parent.name }),
    state: image ? 'running' : disks.some(({ external }) => external) ? 'disk-snapshot' : 'shutoff',
    creationTime: BigInt(snapshot.creation_time ?? Math.floor(Date.now() / 1000)),
    memory,
    disks: allDisks(definition, disks),
    revertDisks: [],
    domain: definition,
    ...(keepsInactive && { inactiveDomain: present }),
  };
}

/** A memory image, if it is no link in a folder of ours. */
export async function readImage(path: string, memoryDir: string): ReturnType<typeof readMemoryImage> {
  await new MemoryFiles(memoryDir).check(path);
  return await readMemoryImage(path);
}

/** The images that the disks stood on: layers may have come over them since. */
function imagesOfThen(disks: readonly LibxlDiskSnapshotResult[]): ReadonlyMap<string, DiskImage> {
  return new Map(
    disks.flatMap(({ disk: { vdev, pdev_path, format } }) =>
      pdev_path !== undefined && (format === 'qcow2' || format === 'raw')
        ? [[vdev, { path: pdev_path, format }] as const]
        : [],
    ),
  );
}

function memoryOf(
  domain: DomainRef,
  { name, memory = false, memory_path }: LibxlDomainSnapshot,
  memoryDir: string,
): MemorySnapshot {
  if (!memory) return { location: 'no' };
  if (memory_path === undefined) {
    throw new LibvirtError(
      'INVALID_ARG',
      `snapshot '${name}' of domain '${domain.name}' has memory and no memory_path`,
    );
  }
  const isOurs = memory_path === new MemoryFiles(memoryDir).path(domain, name);
  return isOurs ? { location: 'internal' } : { location: 'external', file: memory_path };
}

/** Every disk of the definition: a disk that the struct does not name was not part of the snapshot. */
function allDisks(definition: XmlElement, captured: readonly LibxlDiskSnapshotResult[]): readonly DiskSnapshot[] {
  const targets = domainDisks(definition).map(({ target }) => target);
  const unknown = captured.find(({ disk }) => !targets.includes(disk.vdev));
  if (unknown) throw new LibvirtError('CONFIG_UNSUPPORTED', `the domain had no disk named '${unknown.disk.vdev}'`);
  return targets.map((name): DiskSnapshot => {
    const part = captured.find(({ disk }) => disk.vdev === name);
    if (!part) return { name, location: 'no' };
    if (!part.external) return { name, location: 'internal' };
    const { external_path: path, external_format: format } = part;
    return {
      ...{ name, location: 'external' },
      target: { type: 'file', ...(format && { format }), ...(path !== undefined && { path }) },
    };
  });
}
