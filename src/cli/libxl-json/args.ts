/** Reads libxl_domain_snapshot_args, as `export --args` prints it, as the request for a snapshot. */

import { dirname, relative } from 'node:path';
import type { DiskSpec, MemorySpec } from '../../client/snapshot-document.ts';
import { DOMAIN_SNAPSHOT_ARGS, fromLibxlJson } from '../../libxl/structs.ts';
import { requestedMemoryPath } from '../../memory/requested-path.ts';
import type { DomainRef } from '../../model/domain.ts';
import { CREATE } from '../../model/flags.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { failure } from '../failure.ts';
import { type SnapshotCfg, stypeOf } from '../snapshot-cfg/read.ts';

/** Libxl-json is an object; neither XML nor xl.snapshot.cfg(5) begins so. */
export function isLibxlJson(text: string): boolean {
  return /^\s*\{/.test(text);
}

/**
 * Reads the struct from the file `from`. Disks go by their vdev, whatever image they had; memory in xlsnapd's own folder is
 * internal, under whatever name. Refuses what a snapshot of libvirt cannot be: several names, or overlays of which some
 * exist already.
 */
export function readArgs(
  json: string,
  { from, domain, memoryDir }: { readonly from: string; readonly domain: DomainRef; readonly memoryDir: string },
): { readonly cfg: SnapshotCfg; readonly flags: number } {
  const args = fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, json);
  const { disks = [] } = args;
  const names = [...new Set(disks.flatMap(({ name }) => name ?? []))];
  if (names.length > 1) throw failure(`${from}: a snapshot has one name, not ${names.join(' and ')}`);
  const overlays = disks.filter(({ external }) => external);
  const reused = overlays.filter(({ external_reuse }) => external_reuse);
  if (reused.length > 0 && reused.length < overlays.length) {
    throw failure(`${from}: external_reuse is for all overlays or for none`);
  }
  return {
    cfg: {
      name: names[0],
      description: undefined,
      memory: memoryOf(args, dirname(new MemoryFiles(memoryDir).path(domain, ''))),
      disks: disks.map(diskOf),
    },
    flags: (args.live === true ? CREATE.LIVE : 0) | (reused.length > 0 ? CREATE.REUSE_EXT : 0),
  };
}

function memoryOf(args: LibxlDomainSnapshotArgs, ownFolder: string): MemorySpec | undefined {
  const file = requestedMemoryPath(args);
  if (file === undefined) return undefined;
  const isOurs = relative(ownFolder, dirname(file)) === '';
  return isOurs ? { snapshot: 'internal' } : { snapshot: 'external', file };
}

function diskOf({ disk, external, external_format, external_path: file }: LibxlDiskSnapshot): DiskSpec {
  const name = disk.vdev;
  if (!external) return { name, snapshot: 'internal' };
  const driver = external_format === 'unknown' ? undefined : external_format;
  return { name, snapshot: 'external', driver, ...(file !== undefined && { stype: stypeOf(file), file }) };
}
