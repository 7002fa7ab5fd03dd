/** What a delete takes away, what it leaves to other snapshots, and in which order. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { DiskImage, LayerCommit } from '../../../../src/model/disk-image.ts';
import type { Domain, DomainRef } from '../../../../src/model/domain.ts';
import type { SnapshotDef } from '../../../../src/model/snapshot.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { deleteSnapshot } from '../../../../src/snapshots/delete/delete.ts';
import { DomainSnapshots } from '../../../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../../../src/snapshots/jobs.ts';
import type { Journal, SavedMemory } from '../../../../src/snapshots/ports.ts';
import { parseDomain } from '../../../../src/xml/domain/domain.ts';
import { diskImages } from '../../../../src/xml/domain/images.ts';
import { MemoryStore } from '../../../support/fakes/store-in-memory.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';

const ref: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
const RUNNING: Domain = { ref, state: 'running', persistent: true };
const OFF: Domain = { ref: { ...ref, id: -1 }, state: 'shutoff', persistent: true };

let folder: Awaited<ReturnType<typeof scratchFolder>>;
const file = (name: string) => join(folder.path, name);
const nameOf = (path: string | undefined) => path?.replace(`${folder.path}/`, '');

beforeEach(async () => {
  folder = await scratchFolder();
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

const definition = (image: string) =>
  parseDomain(
    `<domain type='xen'><name>g</name><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` +
      `<source file='${file(image)}'/><target dev='xvda'/></disk></devices></domain>`,
  );

/** A snapshot with memory, of a disk that was `state`; external with an overlay, else internal. */
function snapshot(name: string, state: string, overlay?: string): SnapshotDef {
  const target = { type: 'file', format: 'qcow2', path: file(overlay ?? '') } as const;
  return {
    ...{ name, state: 'running', creationTime: 1n, memory: { location: 'internal' }, revertDisks: [] },
    disks: [overlay ? { name: 'xvda', location: 'external', target } : { name: 'xvda', location: 'internal' }],
    domain: definition(state),
  };
}

/** `chain`: the domain's images from the active one; the files are there. */
async function scene(domain: Domain, chain: readonly string[], stored: readonly SnapshotDef[]) {
  for (const name of chain) await writeFile(file(name), '');
  const steps: string[] = [];
  const step = async (name: string): Promise<void> => void steps.push(name);
  const commits = async (layers: readonly LayerCommit[]) => {
    for (const { top, base } of layers) await step(`commit ${nameOf(top.path)} into ${nameOf(base.path)}`);
  };
  const store = new MemoryStore();
  for (const each of stored) await store.write(ref, each, false);
  const entry = { phase: async () => {}, plan: async () => {}, end: async () => {} };
  const journal: Journal = { begin: async () => entry, pending: async () => [], end: async () => {} };
  const context = {
    host: {
      lookup: async () => domain,
      list: async () => [domain],
      definition: async () => definition(chain[0] ?? ''),
      commit: async (_: Domain, layers: readonly LayerCommit[]) => commits(layers),
      setDisks: async () => {},
      deleteDiskSnapshots: async () => {},
      retie: ({ path, name, disks }: SavedMemory) =>
        step(`retie ${path} ${name} ${disks.map(({ disk }) => nameOf(disk.pdev_path))}`),
    },
    images: {
      commit: commits,
      chain: async (image: DiskImage) =>
        chain.slice(chain.indexOf(nameOf(image.path) ?? '')).map((name) => ({ path: file(name), format: 'qcow2' })),
      rebase: async (image: DiskImage) => step(`rebase ${nameOf(image.path)}`),
      remove: async () => {},
      delete: async () => {},
    },
    memory: {
      path: (_: DomainRef, name: string) => `memory of ${name}`,
      check: (path: string) => step(`check ${path}`),
      remove: (_: DomainRef, name: string) => step(`remove memory of ${name}`),
      removeFile: (path: string) => step(`remove ${path}`),
    },
    store,
    jobs: new Jobs(journal),
  } as unknown as SnapshotContext;
  const snapshots = await DomainSnapshots.load(ref, store, () => {});
  const read = async (name: string) => diskImages((await store.read(ref, name)).domain as never).get('xvda')?.path;
  return { steps, read, remove: (name: string) => deleteSnapshot(context, snapshots, name, 0) };
}

describe.each([
  ['running', RUNNING],
  ['off', OFF],
])('a domain that is %s: after a merge', (_state, domain) => {
  test('the memory of a snapshot whose state was the merged overlay is tied to the base', async () => {
    const stored = [snapshot('s1', 'base', 'o1'), snapshot('s2', 'o1', 'o2')];
    const { steps, read, remove } = await scene(domain, ['o2', 'o1', 'base'], stored);
    await remove('s1');
    expect(steps).toEqual([
      'commit o1 into base',
      'check memory of s2',
      'retie memory of s2 s2 base',
      'remove memory of s1',
    ]);
    expect(nameOf(await read('s2'))).toBe('base');
  });

  test('so is that of an internal snapshot in the image above, whose header has changed', async () => {
    const stored = [snapshot('s1', 'base', 'o1'), snapshot('s2', 'o2')];
    const { steps, remove } = await scene(domain, ['o2', 'o1', 'base'], stored);
    await remove('s1');
    expect(steps).toContain('retie memory of s2 s2 o2');
  });

  test('that of a snapshot in an image that was not touched is left alone', async () => {
    const stored = [snapshot('s1', 'base', 'o1'), snapshot('s2', 'o1', 'o2')];
    const { steps, remove } = await scene(domain, ['o2', 'o1', 'base'], stored);
    await remove('s2');
    expect(steps).toEqual(['commit o2 into o1', 'remove memory of s2']);
  });
});

test('external memory that a clone of the snapshot names stays for it, and goes with the last of the two', async () => {
  const external = (name: string, path: string): SnapshotDef => ({
    ...{ name, state: 'running', creationTime: 1n, disks: [], revertDisks: [], domain: definition('base') },
    memory: { location: 'external', file: path },
  });
  const stored = [external('s1', '/m/one'), external('clone', '/m/one'), external('other', '/m/two')];
  const { steps, remove } = await scene(RUNNING, ['base'], stored);
  await remove('s1');
  expect(steps).toEqual([]);
  await remove('other');
  await remove('clone');
  expect(steps).toEqual(['remove /m/two', 'remove /m/one']);
});
