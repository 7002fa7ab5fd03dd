/**
 * Snapshots of a guest that the xl tool started, by the library alone: no xlsnapd, no libvirtd, no files but those in a
 * folder of the caller's. For toolstacks that keep their own records. Root in Domain-0:
 *
 *     node snapshot-without-daemon.js save GUEST NAME FOLDER
 *     node snapshot-without-daemon.js restore NAME FOLDER
 *
 * What a toolstack adds to it: on Xen before 4.20 the `xl create` that waits for the guest to end leaves when the guest is
 * suspended, and after a restore there is none: somebody must watch the guest for its reboot and its end.
 */

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  DOMAIN_SNAPSHOT,
  DOMAIN_SNAPSHOT_ARGS,
  domainSnapshotRestore,
  domainSnapshotSave,
  domainXmlOfConfig,
  fromLibxlJson,
  isLibvirtError,
  type LibxlDomainSnapshot,
  toLibxlJson,
} from 'xlsnap';

const run = promisify(execFile);

/** A domain as `xl list --long` prints it. */
interface Listed {
  readonly domid: number;
  readonly config: Readonly<Record<string, unknown>> & {
    readonly c_info: { readonly name?: string };
    readonly disks?: readonly ListedDisk[];
  };
}
interface ListedDisk {
  readonly vdev: string;
  readonly pdev_path?: string;
  readonly format?: string;
  readonly readwrite?: number;
}

/** Saves the memory into FOLDER/NAME.save, and each qcow2 disk inside its image. The guest goes on running. */
export async function save(guest: string, name: string, folder: string, signal: AbortSignal): Promise<number> {
  const found = (JSON.parse((await run('xl', ['list', '--long'])).stdout) as readonly Listed[]).find(
    ({ config }) => config.c_info.name === guest,
  );
  if (!found) throw new Error(`no guest '${guest}' is running`);
  const { domid, config } = found;
  const { disks = [] } = config;
  const writable = disks.filter(({ readwrite }) => readwrite);
  const other = writable.find(({ format }) => format !== 'qcow2');
  if (other) throw new Error(`disk ${other.vdev} is ${other.format ?? 'raw'}: only qcow2 has internal snapshots`);
  // Read as libxl-json: strictly. Of a disk it takes the fields that a snapshot needs.
  const parameters = {
    memory_path: join(folder, `${name}.save`),
    disks: writable.map(({ vdev, pdev_path, format }) => ({ disk: { vdev, pdev_path, format, readwrite: 1 }, name })),
  };
  const args = fromLibxlJson(DOMAIN_SNAPSHOT_ARGS, JSON.stringify(parameters));
  const snapshot = await domainSnapshotSave(domid, name, args, {
    domainXml: domainXmlOfConfig(config, domid),
    signal,
  });
  // The config may have the password of the guest's screen.
  await writeFile(join(folder, `${name}.json`), toLibxlJson(DOMAIN_SNAPSHOT, snapshot), { mode: 0o600 });
  return domid;
}

/** Destroys the guest, if it runs, puts its disks back, and makes it again as it was. Returns its new domid. */
export async function restore(name: string, folder: string, signal: AbortSignal): Promise<number> {
  const snapshot = fromLibxlJson(DOMAIN_SNAPSHOT, await readFile(join(folder, `${name}.json`), 'utf8'));
  const guest = nameOf(snapshot);
  const { stdout } = await run('xl', ['list', '--long']);
  const runs = (JSON.parse(stdout) as readonly Listed[]).some(({ config }) => config.c_info.name === guest);
  if (runs) await run('xl', ['destroy', '--', guest]);
  for (const { disk } of snapshot.disks ?? []) {
    if (disk.pdev_path !== undefined) await run('qemu-img', ['snapshot', '-a', name, disk.pdev_path]);
  }
  return await domainSnapshotRestore(snapshot, { signal });
}

function nameOf({ config }: LibxlDomainSnapshot): string {
  const { name } = (config?.c_info ?? {}) as { readonly name?: string };
  if (name === undefined) throw new Error('the snapshot has no config: it was not taken by a save');
  return name;
}

async function main([command, ...words]: readonly string[]): Promise<void> {
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  const { signal } = interrupted;
  const [first = '', second = '', third = ''] = words;
  if (command === 'save' && words.length === 3) {
    console.log(`guest ${await save(first, second, third, signal)} is saved`);
  } else if (command === 'restore' && words.length === 2) {
    console.log(`guest ${await restore(first, second, signal)} is restored`);
  } else {
    throw new Error('usage: save GUEST NAME FOLDER, or restore NAME FOLDER');
  }
}

if (process.argv[1] === import.meta.filename) {
  await main(process.argv.slice(2)).catch((error: Error) => {
    console.error(isLibvirtError(error) ? `${error.code}: ${error.message}` : error.message);
    process.exitCode = 1;
  });
}
