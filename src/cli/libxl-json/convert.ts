/**
 * Converts a snapshot between libvirt's document and libxl's struct (schemas/libxl_snapshot.idl). The struct has no
 * description, state, parent and definitions: an import takes them from the memory image's header and from the domain's
 * present definition.
 */

import { stat } from 'node:fs/promises';
import { backingImage } from '../../disks/chain/chains.ts';
import { withKinds } from '../../disks/overlays/overlays.ts';
import { LibvirtError } from '../../errors.ts';
import { readMemoryImage } from '../../memory/image-file.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { XML } from '../../model/flags.ts';
import type { LibxlDiskSnapshot, LibxlDiskSnapshotResult, LibxlDomainSnapshot } from '../../model/libxl.ts';
import type { DiskSnapshot, MemorySnapshot, SnapshotDef } from '../../model/snapshot.ts';
import { memoryPathOf } from '../../model/snapshot.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { parseDefinition, withDiskImages } from '../../xml/domain/definition.ts';
import { capturedDisks } from '../../xml/snapshot/libxl-args.ts';

/** Returns the struct that a save would have returned. Leaves out sizes and backing images that cannot be read. */
export async function libxlSnapshotOf(
  domain: DomainRef,
  snapshot: SnapshotDef,
  memoryDir: string,
): Promise<LibxlDomainSnapshot> {
  const path = memoryPathOf(snapshot, new MemoryFiles(memoryDir).path(domain, snapshot.name));
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
  return (await backingImage({ path, format }).catch(() => undefined))?.path;
}

/**
 * Returns the snapshot to be redefined, as a child of the present current one. A snapshot with memory was taken of a running
 * domain; one without, inside the images, of a domain that was off; one with overlays is disk-only. Memory images do not
 * hold passwords, so the definition from there lacks them.
 */
export async function documentOf(
  client: RpcClient,
  domain: DomainRef,
  snapshot: LibxlDomainSnapshot,
  memoryDir: string,
): Promise<SnapshotDef> {
  const { name, disks = [] } = snapshot;
  const memory = memoryOf(domain, snapshot, memoryDir);
  const today = parseDefinition(await client.getXMLDesc(domain, XML.INACTIVE | XML.SECURE));
  const present = withDiskImages(today, await withKinds(imagesOfThen(disks)));
  const image = snapshot.memory_path === undefined ? undefined : await readImage(snapshot.memory_path, memoryDir);
  const definition = image ? parseDefinition(image.domainXml) : present;
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

/** Reads a memory image. Refuses a symbolic link in our folder. */
export async function readImage(path: string, memoryDir: string): ReturnType<typeof readMemoryImage> {
  await new MemoryFiles(memoryDir).check(path);
  return await readMemoryImage(path);
}

/** Returns the disks' images at the time of the snapshot; they may have overlays now. */
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
      `snapshot '${name}' of domain '${domain.name}' has memory but no memory_path`,
    );
  }
  const isOurs = memory_path === new MemoryFiles(memoryDir).path(domain, name);
  return isOurs ? { location: 'internal' } : { location: 'external', file: memory_path };
}

/** Returns every disk of the definition: a disk that the struct does not name was not captured. */
function allDisks(definition: DomainDefinition, captured: readonly LibxlDiskSnapshotResult[]): readonly DiskSnapshot[] {
  const targets = definition.disks.map(({ target }) => target);
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
