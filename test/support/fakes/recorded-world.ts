/**
 * A domain with one disk `xvda`, its snapshots, and all that an operation asks of the rest of the world, recorded in
 * order. Image files are there, empty, in a folder of their own; in steps and definitions they go by their names.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LibvirtError } from '../../../src/errors.ts';
import type { DiskImage, LayerCommit } from '../../../src/model/disk-image.ts';
import type { Domain, DomainDefinition, DomainRef, StorageVolume } from '../../../src/model/domain.ts';
import type { InternalSnapshot, LibxlDiskSnapshot, LibxlDomainSnapshotArgs } from '../../../src/model/libxl.ts';
import type { SnapshotDef } from '../../../src/model/snapshot.ts';
import type { SnapshotContext } from '../../../src/snapshots/context.ts';
import { DomainSnapshots } from '../../../src/snapshots/domain-snapshots.ts';
import { Jobs } from '../../../src/snapshots/jobs.ts';
import type { Interruption, SavedMemory } from '../../../src/snapshots/ports/host.ts';
import type { MergeJob } from '../../../src/snapshots/ports/jobs.ts';
import type { Journal, PendingOperation } from '../../../src/snapshots/ports/journal.ts';
import { parseDefinition } from '../../../src/xml/domain/definition.ts';
import { scratchFolder } from '../hosts/embedded.ts';
import { MemoryStore, ProtectedInMemory } from './store-in-memory.ts';

export const GUEST: DomainRef = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 3 };
export const RUNNING: Domain = { ref: GUEST, state: 'running', persistent: true };
export const OFF: Domain = { ref: { ...GUEST, id: -1 }, state: 'shutoff', persistent: true };

interface Given {
  readonly domain?: Domain;
  /** The domain's images, from the active one down. */
  readonly chain?: readonly string[];
  /** Images of other branches, each from its top down. */
  readonly branches?: readonly (readonly string[])[];
  readonly pending?: readonly PendingOperation[];
}

export class RecordedWorld implements AsyncDisposable {
  readonly steps: string[] = [];
  readonly log: string[] = [];
  readonly store = new RecordedStore(this);
  readonly protectedNames = new ProtectedInMemory();
  readonly jobs: Jobs;
  /** What happens at a step besides its being recorded. */
  readonly at = new Map<string, () => void>();
  /** Other domains, by name, and the image that each has as its disk; all are off. */
  readonly others = new Map<string, string>();
  /** Overlays that hold nothing, by name. */
  readonly emptied = new Set<string>();
  domain: Domain;
  readonly #folder: Awaited<ReturnType<typeof scratchFolder>>;
  readonly #given: Given;
  /** The image that the domain is on in each of its definitions. */
  readonly #active: Record<'live' | 'persistent', string>;
  readonly #journal: Journal;

  private constructor(folder: Awaited<ReturnType<typeof scratchFolder>>, given: Given) {
    this.#folder = folder;
    this.#given = given;
    const [active = 'base'] = given.chain ?? [];
    this.#active = { live: active, persistent: active };
    this.domain = given.domain ?? RUNNING;
    const entry = {
      phase: (name: string) => this.step(`phase ${name}`),
      plan: () => this.step('plan'),
      definition: async () => {},
      end: () => this.step('end'),
    };
    this.#journal = {
      begin: async () => entry,
      pending: async () => given.pending ?? [],
      end: () => this.step('end'),
    };
    this.jobs = new Jobs(this.#journal);
  }

  static async open(given: Given = {}): Promise<RecordedWorld> {
    const world = new RecordedWorld(await scratchFolder(), given);
    for (const image of [...(given.chain ?? ['base']), ...(given.branches ?? []).flat()]) {
      await writeFile(world.path(image), '');
    }
    return world;
  }

  path(name: string): string {
    return join(this.#folder.path, name);
  }

  async step(name: string): Promise<void> {
    this.steps.push(name);
    this.at.get(name)?.();
  }

  /** The step fails, for the reason `no STEP`. */
  fail(step: string): void {
    this.at.set(step, () => {
      throw new LibvirtError('OPERATION_FAILED', `no ${step}`);
    });
  }

  definition(image: string, uuid = GUEST.uuid): DomainDefinition {
    return parseDefinition(
      `<domain type='xen'><name>g</name><uuid>${uuid}</uuid><memory>4096</memory><os><type>linux</type></os><devices>` +
        `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${this.path(image)}'/>` +
        `<target dev='xvda' bus='xen'/></disk></devices></domain>`,
    );
  }

  /** A snapshot of the disk in image `state`, with internal memory: external with an overlay, else internal. */
  snapshot(name: string, state: string, overlay?: string, more: Partial<SnapshotDef> = {}): SnapshotDef {
    const target = { type: 'file', format: 'qcow2', path: this.path(overlay ?? '') } as const;
    return {
      ...{ name, state: 'running', creationTime: 1n, memory: { location: 'internal' }, revertDisks: [] },
      disks: [overlay ? { name: 'xvda', location: 'external', target } : { name: 'xvda', location: 'internal' }],
      domain: this.definition(state),
      ...more,
    };
  }

  /** The domain's snapshots, once these are stored, which is not recorded. */
  async snapshots(...stored: readonly SnapshotDef[]): Promise<DomainSnapshots> {
    for (const each of stored) await this.store.write(GUEST, each, false);
    this.steps.length = 0;
    return await DomainSnapshots.load(GUEST, this.store, (text) => this.log.push(text));
  }

  /** The image that is the disk in a stored snapshot. */
  async stateOf(name: string): Promise<string | undefined> {
    const { domain } = await this.store.read(GUEST, name);
    return domain && this.#name(domain.images.get('xvda'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }

  get context(): SnapshotContext {
    const chain = this.#given.chain ?? ['base'];
    const name = (image: DiskImage | undefined) => this.#name(image);
    const overlays = (disks: readonly LibxlDiskSnapshot[]) =>
      disks.map(({ external_path, disk }) => this.#name({ path: external_path ?? disk.pdev_path ?? '' }));
    const commit = async (layers: readonly LayerCommit[], job: MergeJob) => {
      for (const layer of layers) {
        await this.step(`commit ${name(layer.top)} into ${name(layer.base)}`);
        await job.merged(layer);
      }
    };
    const remove = async (images: readonly DiskImage[]) => {
      for (const image of images) await this.step(`remove ${name(image)}`);
    };
    const disksOf = (disks: readonly LibxlDiskSnapshot[]) => (disks.length > 0 ? ` ${overlays(disks)}` : '');
    return {
      host: {
        lookup: async (ref: DomainRef) => (ref.uuid === GUEST.uuid ? this.domain : this.#other(ref.name)),
        list: async () => [this.domain, ...[...this.others.keys()].map((other) => this.#other(other))],
        definition: async ({ ref }: Domain, which: 'live' | 'persistent') =>
          this.definition(this.others.get(ref.name) ?? this.#active[which]),
        idle: () => this.step('idle'),
        recover: (_: Domain, { phase, memoryPath }: Interruption) =>
          this.step(`recover ${phase}${memoryPath === undefined ? '' : ` ${memoryPath}`}`),
        checkSave: () => this.step('checkSave'),
        save: async (_: Domain, snapshot: string, args: LibxlDomainSnapshotArgs) => {
          await this.step(`save ${snapshot}`);
          return { name: snapshot, ...args };
        },
        checkRestore: () => this.step('checkRestore'),
        checkMemory: () => this.step('check memory'),
        volumePath: async ({ name }: StorageVolume) => `/volumes/${encodeURIComponent(name)}`,
        checkParts: () => this.step('check host'),
        checkDefinition: async () => {},
        destroy: () => this.step('destroy'),
        restore: (_: Domain, path: string) => this.step(`restore ${path}`),
        define: () => this.step('define'),
        start: () => this.step('start'),
        checkSetDisks: async () => {},
        checkCommit: async () => {},
        commit: (_: Domain, layers: readonly LayerCommit[], job: MergeJob) => commit(layers, job),
        setDisks: (_: Domain, images: ReadonlyMap<string, DiskImage>, which: 'live' | 'persistent') => {
          const [image = ''] = [...images.values()].map(name);
          this.#active[which] = image;
          return this.step(`set ${which} ${image}`);
        },
        deleteDiskSnapshots: (_: Domain, snapshot: string) => this.step(`delete ${snapshot} by QEMU`),
        retie: ({ path, name: snapshot, disks }: SavedMemory) =>
          this.step(`retie ${path} ${snapshot} ${disks.map(({ disk }) => this.#name({ path: disk.pdev_path ?? '' }))}`),
      },
      images: {
        check: () => this.step('check images'),
        checkApply: () => this.step('check room'),
        checkStart: () => this.step('check files'),
        checkFree: (_: string, disks: readonly LibxlDiskSnapshot[]) => this.step(`checkFree${disksOf(disks)}`),
        create: (_: string, disks: readonly LibxlDiskSnapshot[]) => this.step(`create${disksOf(disks)}`),
        apply: (snapshot: string) => this.step(`apply ${snapshot}`),
        settleApply: async (snapshot: string) => {
          await this.step(`settle apply ${snapshot}`);
          return 'undone' as const;
        },
        delete: (snapshot: string) => this.step(`delete ${snapshot} by qemu-img`),
        commit,
        remove,
        isEmptied: async (image: DiskImage) => this.emptied.has(this.#name(image) ?? ''),
        checkMerge: async () => {},
        checkDelete: async (doomed: readonly InternalSnapshot[]) => {
          for (const { disk, name } of doomed) await this.step(`check deletes ${name} in ${overlays([{ disk }])}`);
        },
        checkRebase: async () => {},
        checkRemoval: async () => {},
        fileKey: async (path: string) => path,
        keysBelow: async () => new Set(),
        rebase: (image: DiskImage) => this.step(`rebase ${name(image)}`),
        chains: async (images: readonly DiskImage[]) =>
          images.map((image) => {
            const all = [chain, ...(this.#given.branches ?? [])];
            const of = all.find((each) => each.includes(name(image) ?? '')) ?? [];
            const paths = of.slice(of.indexOf(name(image) ?? '')).map((each) => this.path(each));
            const layers = (of.length > 0 ? paths : [image.path]).map((path) => ({ path, format: 'qcow2', key: path }));
            return { layers, dataFiles: [] };
          }),
      },
      snapshotsOf: (ref: DomainRef) =>
        DomainSnapshots.load(ref, ref.uuid === GUEST.uuid ? this.store : new MemoryStore(), () => {}),
      ownFiles: [this.path('own')],
      memory: {
        path: (_: DomainRef, snapshot: string) => `memory of ${snapshot}`,
        list: async () => [],
        prepare: (_: DomainRef, snapshot: string) => this.step(`prepare memory of ${snapshot}`),
        prepareFile: (_: DomainRef, path: string) => this.step(`prepare ${path}`),
        check: (path: string) => this.step(`check ${path}`),
        checkRemoval: (path: string) => this.step(`check removal of ${path}`),
        tidy: () => this.step('tidy'),
        remove: (_: DomainRef, snapshot: string) => this.step(`remove memory of ${snapshot}`),
        removeFile: (path: string) => this.step(`remove ${path}`),
      },
      events: { emit: () => {}, expect: () => ({ [Symbol.dispose]: () => {} }) },
      store: this.store,
      protectedNames: this.protectedNames,
      journal: this.#journal,
      jobs: this.jobs,
      log: (text: string) => this.log.push(text),
    } as unknown as SnapshotContext;
  }

  #other(name: string): Domain {
    return { ref: { name, uuid: `uuid of ${name}`, id: -1 }, state: 'shutoff', persistent: true };
  }

  #name(image: Pick<DiskImage, 'path'> | undefined): string | undefined {
    return image?.path.replace(`${this.#folder.path}/`, '').replace(/\.\d{10,}$/, '.TIME');
  }
}

class RecordedStore extends MemoryStore {
  readonly #world: RecordedWorld;

  constructor(world: RecordedWorld) {
    super();
    this.#world = world;
  }

  override async write(domain: DomainRef, snapshot: SnapshotDef, current: boolean): Promise<void> {
    const mark = snapshot.disks.some(({ deleteInProgress }) => deleteInProgress) ? ', marked' : '';
    await this.#world.step(`write ${snapshot.name}${current ? ' as current' : ''}${mark}`);
    await super.write(domain, snapshot, current);
  }

  override async remove(domain: DomainRef, name: string): Promise<void> {
    await this.#world.step(`forget ${name}`);
    await super.remove(domain, name);
  }
}
