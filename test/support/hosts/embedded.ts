/** What the tests of the embedded host, and those of its device model, share: real folders, real images, a written pattern. */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedHost } from '../../../src/hosts/embedded/embedded-host.ts';
import type { Domain } from '../../../src/model/domain.ts';
import { LIFECYCLE } from '../../../src/model/events.ts';
import type { LibxlDiskSnapshot } from '../../../src/model/libxl.ts';
import type { DomainApi } from '../../../src/rpc/server/domain-api.ts';
import type { LifecycleEvents } from '../../../src/snapshots/ports/host.ts';

const run = promisify(execFile);

/** A private folder that goes with the test. Short: socket paths must fit in it. */
export async function scratchFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'xls-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export async function qemuImg(...args: readonly string[]): Promise<string> {
  return (await run('qemu-img', args)).stdout;
}

/** A new empty qcow2 image of 8 MiB. */
export async function newImage(path: string): Promise<string> {
  await qemuImg('create', '-q', '-f', 'qcow2', path, '8M');
  return path;
}

/** qemu-img check of an image that is not in use: throws on any leak or error. */
export async function checkImage(path: string): Promise<void> {
  await qemuImg('check', '-q', path);
}

/** Fills the second MiB of a disk with one byte value: an image file, or `nbdUri` of a live disk. */
export async function writePattern(disk: string, format: 'qcow2' | 'raw', pattern: number): Promise<void> {
  await qemuIo(disk, format, `write -P ${pattern} 1M 1M`);
}

/** True where the second MiB of a disk holds this byte value throughout. */
export async function hasPattern(disk: string, format: 'qcow2' | 'raw', pattern: number): Promise<boolean> {
  return qemuIo(disk, format, `read -P ${pattern} 1M 1M`).then(
    () => true,
    () => false,
  );
}

export function nbdUri(socket: string, disk: string): string {
  return `nbd+unix:///${disk}?socket=${socket}`;
}

/** A disk as the policy hands it to the mechanism. */
export function disk(vdev: string, path: string, format: 'qcow2' | 'raw' = 'qcow2', name = 's1'): LibxlDiskSnapshot {
  return { name, disk: { vdev, pdev_path: path, format, backend: 'qdisk', removable: 1, readwrite: 1 } };
}

async function qemuIo(disk: string, format: string, command: string): Promise<void> {
  const { stdout } = await run('qemu-io', ['-f', format, '-c', command, disk]);
  if (/failed/i.test(stdout)) throw new Error(stdout);
}

/** The folders of an embedded host. */
export const embeddedFolders = (stateDir: string) => ({ stateDir, managedSaveDir: join(stateDir, 'managed-saves') });

/** An embedded host in a folder of its own, with everything that clients were told. */
export async function embeddedHost() {
  const folder = await scratchFolder();
  const stateDir = join(folder.path, 'state');
  const told: string[] = [];
  const host = await EmbeddedHost.open({ ...embeddedFolders(stateDir), events: recorder(told) });
  return {
    ...{ host, told, stateDir, folder: folder.path },
    api: host.domainApi satisfies DomainApi,
    /** The domain of this name. */
    domain: async (name: string): Promise<Domain> => {
      const found = (await host.list()).find(({ ref }) => ref.name === name);
      if (!found) throw new Error(`no domain ${name}`);
      return found;
    },
    /** What the guest of this id has counted to. */
    counter: async ({ ref }: Domain): Promise<bigint> =>
      (await readFile(join(stateDir, `${ref.id}.ram`))).readBigUInt64LE(0),
    /** Where the guest's disk can be written to while it runs. */
    liveDisk: ({ ref }: Domain, vdev: string): string => nbdUri(join(stateDir, `${ref.id}.nbd`), vdev),
    [Symbol.asyncDispose]: async () => {
      await host[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Keeps lifecycle events as `<domain> <libvirt's name of it>`. */
export function recorder(told: string[]): LifecycleEvents {
  return {
    emit: ({ name }, { event, detail }) => {
      const known = Object.entries(LIFECYCLE).find(([, each]) => each.event === event && each.detail === detail);
      told.push(`${name} ${known?.[0]}`);
    },
    expect: () => ({ [Symbol.dispose]: () => {} }),
  };
}

/** A job that nobody cancels, with the phases it went through. */
export function quietJob(signal = new AbortController().signal) {
  const phases: string[] = [];
  const phase = async (name: string) => void phases.push(name);
  return { signal, phase, plan: async () => {}, definition: async () => {}, progress: () => {}, phases };
}

/** A definition with these qcow2 disks. */
export function definitionOf(name: string, uuid: string, disks: Readonly<Record<string, string>> = {}): string {
  const devices = Object.entries(disks).map(
    ([vdev, path]) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/><target dev='${vdev}' bus='xen'/></disk>`,
  );
  return `<domain type='xen'><name>${name}</name><uuid>${uuid}</uuid><memory unit='KiB'>4096</memory><vcpu>2</vcpu><os><type>hvm</type></os><devices>${devices.join('')}</devices></domain>`;
}
