/** A guest of the lab on which one snapshot after the other is taken, reverted to and deleted, each checked in full. */

import { expect } from '@jest/globals';
import type { Lab, LabGuest } from './lab.ts';

type Location = 'internal' | 'external' | 'no';

/** One combination of what a snapshot may be. */
export interface Cell {
  readonly memory: 'internal' | 'external' | 'none';
  /** Of xvda and xvdb. */
  readonly disks: readonly [Location, Location];
  readonly live?: boolean;
  /** The guest is paused while the snapshot is taken. */
  readonly paused?: boolean;
  /** What virsh says, where it is refused. */
  readonly refused?: RegExp;
}

/** What clients and qemu-img tell of the guest's disks, and every file of it and of its snapshots. */
interface Look {
  /** By disk, as `virsh domblklist` has it. */
  readonly tips: readonly string[];
  /** The same with `--inactive`. */
  readonly next: readonly string[];
  readonly chains: readonly (readonly string[])[];
  /** Names of the internal snapshots in the last image of each chain. */
  readonly inside: readonly (readonly string[])[];
  readonly files: readonly string[];
}

interface ImageInfo {
  readonly filename: string;
  readonly snapshots?: readonly { readonly name: string }[];
}

const IMAGES = '/var/lib/libvirt/images';
const METADATA = '/var/lib/libvirt/libxl/snapshot';
const MEMORY = '/var/lib/libvirt/libxl/snapshot-memory';
/** What a revert names its overlays. */
const FRESH = /\.\d{10}$/;

export class MatrixGuest {
  readonly #lab: Lab;
  readonly guest: LabGuest;
  readonly #transient: boolean;
  /** Nothing is left of an earlier cell. */
  #clean = false;

  constructor(lab: Lab, type: LabGuest['type'], { transient = false } = {}) {
    const name = `${transient ? 'transient' : 'matrix'}-${type}`;
    const disks = [0, 1].map((n) => ({ format: 'qcow2' as const, path: `${IMAGES}/${name}-${n}.qcow2` }));
    this.#lab = lab;
    this.guest = { name, type, memoryMiB: 96, disks };
    this.#transient = transient;
  }

  get name(): string {
    return this.guest.name;
  }

  get images(): readonly string[] {
    return this.guest.disks.map(({ path }) => path);
  }

  get tick(): number {
    return this.#lab.ticks(this.name).at(-1) ?? 0;
  }

  /** The guest that runs, with nothing of an earlier snapshot: made anew unless the last cell ended well. */
  async ready(): Promise<void> {
    if (this.#clean) return;
    await this.remove();
    if (this.#transient) {
      const ticks = this.#lab.ticks(this.name).length;
      await this.#lab.createGuest(this.guest);
      await this.#lab.waitForTicks(this.name, (now) => now.length > ticks);
    } else {
      await this.#lab.defineGuest(this.guest);
      const fill = this.images.map((path, n) => `qemu-io -c 'write -P ${n + 17} 1M 1M' ${path}`);
      await this.#lab.must(fill.join(' && '));
      await this.#lab.startGuest(this.name);
    }
    await this.goesOn(2);
    this.#clean = true;
  }

  /** Runs a check that leaves the guest as it was, unless it fails. */
  async keeping(check: () => Promise<void>): Promise<void> {
    await this.ready();
    this.#clean = false;
    await check();
    this.#clean = true;
  }

  async remove(): Promise<void> {
    await this.#lab.sh(`
      v() { virsh -c xen:///system "$@"; }
      v destroy ${this.name}
      for name in $(v snapshot-list ${this.name} --name); do v snapshot-delete ${this.name} "$name" --metadata; done
      v undefine ${this.name}
      rm -f ${IMAGES}/${this.name}[-.]* ${MEMORY}/*/*`);
    this.#clean = false;
  }

  /** Waits for ticks of the same run of the guest: neither reverted nor started anew. */
  async goesOn(ticks = 1): Promise<void> {
    const runs = this.#lab.tickRuns(this.name).length;
    await this.#lab.waitForTick(this.name, this.tick + ticks);
    expect(this.#lab.tickRuns(this.name)).toHaveLength(Math.max(runs, 1));
  }

  /** Runs what puts the guest back or starts it anew, for the first tick afterwards. */
  async goesBack(action: () => Promise<unknown>): Promise<number> {
    const runs = this.#lab.tickRuns(this.name).length;
    await action();
    await this.#lab.waitForTicks(this.name, () => this.#lab.tickRuns(this.name).length > runs);
    return this.#lab.tickRuns(this.name).at(-1)?.[0] ?? 0;
  }

  /** Words for `virsh snapshot-create-as`. */
  create(name: string, { memory, disks, live }: Cell): readonly string[] {
    const specs = disks.flatMap((location, n) => ['--diskspec', `xvd${'ab'[n]},snapshot=${location}`]);
    return [
      'snapshot-create-as',
      this.name,
      name,
      ...(memory === 'none' ? ['--disk-only'] : []),
      ...(memory === 'external' ? ['--memspec', `file=${this.#memoryFile(name)}`] : []),
      ...(live ? ['--live'] : []),
      ...specs,
    ];
  }

  /** The whole of a cell on the running guest. */
  async runs(cell: Cell, name: string): Promise<void> {
    await this.keeping(async () => {
      const before = this.tick;
      if (cell.paused) await this.#lab.ok('suspend', this.name);
      if (cell.refused) {
        expect(await this.#lab.refused(...this.create(name, cell))).toMatch(cell.refused);
        if (cell.paused) await this.#lab.ok('resume', this.name);
        await this.goesOn();
        await this.isAsBefore();
        return;
      }
      await this.#lab.ok(...this.create(name, cell));
      const after = this.tick;
      if (cell.paused) {
        expect(await this.#lab.ok('domstate', this.name)).toBe('paused');
        await this.#lab.ok('resume', this.name);
      }
      await this.goesOn(3);
      await this.#isTaken(cell, name);
      const states = await this.#states(cell, name);

      await this.#lab.ok('snapshot-revert', this.name, name, '--paused');
      expect(await this.#lab.ok('domstate', this.name)).toBe('paused');
      const tips = await this.#isReverted(cell, name, states);
      const counts: number[] = [];
      for (const tip of tips) counts.push(await this.#lab.diskCount(tip));
      const first = await this.goesBack(() => this.#lab.ok('resume', this.name));
      if (cell.memory === 'none') expect(first).toBe(1);
      else {
        expect(first).toBeGreaterThan(before);
        expect(first).toBeLessThanOrEqual(after + 1);
      }
      for (const [n, location] of cell.disks.entries()) {
        if (location === 'no') expect(counts[n]).toBeGreaterThan(after);
        else if (cell.memory !== 'none') expect([first - 1, first - 2]).toContain(counts[n]);
      }

      await this.goesOn();
      await this.#lab.ok('snapshot-delete', this.name, name);
      await this.goesOn();
      await this.isAsBefore();
    });
  }

  /** The whole of a cell on the guest while it is off. */
  async isOff(cell: Cell, name: string): Promise<void> {
    if (cell.refused) {
      expect(await this.#lab.refused(...this.create(name, cell))).toMatch(cell.refused);
      await this.isAsBefore();
      return;
    }
    await this.#lab.ok(...this.create(name, cell));
    await this.#isTaken(cell, name);
    const states = await this.#states(cell, name);
    for (const tip of (await this.look()).tips) {
      await this.#lab.must(`qemu-io -c 'write -P ${name.length + 40} 2M 64k' ${tip}`);
    }
    await this.#lab.ok('snapshot-revert', this.name, name);
    expect(await this.#lab.ok('domstate', this.name)).toBe('shut off');
    await this.#isReverted(cell, name, states);
    await this.#lab.ok('snapshot-delete', this.name, name);
    await this.isAsBefore();
  }

  /** Hash of each captured disk as the snapshot has it. */
  async #states({ disks }: Cell, name: string): Promise<readonly (string | undefined)[]> {
    const hashes: (string | undefined)[] = [];
    for (const [n, location] of disks.entries()) {
      const from = location === 'internal' ? `${this.images[n]} ${name}` : this.images[n];
      hashes.push(location === 'no' ? undefined : await this.#hash(from ?? ''));
    }
    return hashes;
  }

  /** Of all that a guest sees of each image. */
  async hashes(images: readonly string[]): Promise<readonly string[]> {
    const hashes: string[] = [];
    for (const image of images) hashes.push(await this.#hash(image));
    return hashes;
  }

  /** No snapshot, no file of one, every disk on its own image again. */
  async isAsBefore(): Promise<void> {
    const { images } = this;
    expect(await this.look()).toEqual({
      tips: images,
      next: images,
      chains: images.map((image) => [image]),
      inside: [[], []],
      files: images,
    });
  }

  async look(): Promise<Look> {
    const text = await this.#lab.must(`
      sources() { virsh -c xen:///system domblklist ${this.name} $1 | awk 'NR > 2 && NF { print $2 }'; }
      tips=$(sources)
      echo "$tips"; echo ---
      ${this.#transient ? 'echo "$tips"' : 'sources --inactive'}; echo ---
      for tip in $tips; do qemu-img info -U --backing-chain --output=json $tip | tr -d '\\n'; echo; done; echo ---
      ls -d ${IMAGES}/${this.name}[-.]*
      find ${METADATA}/${this.name} ${MEMORY} -type f ! -name .xlsnapd.lock 2> /dev/null
      for image in ${IMAGES}/${this.name}-*; do qemu-img check -q -U $image || { fail "$image is not in order"; exit; }; done`);
    const [tips = [], next = [], infos = [], files = []] = text.split('---\n').map((part) => part.trim().split('\n'));
    const chains = infos.map((info) => JSON.parse(info) as readonly ImageInfo[]);
    return {
      tips,
      next,
      chains: chains.map((chain) => chain.map(({ filename }) => filename)),
      inside: chains.map((chain) => (chain.at(-1)?.snapshots ?? []).map(({ name }) => name)),
      files: files.sort(),
    };
  }

  async #hash(image: string): Promise<string> {
    return (await this.#lab.must(`disk_hash ${image}`)).trim();
  }

  #memoryFile(name: string): string {
    return `${IMAGES}/${this.name}.${name}.save`;
  }

  async #isTaken(cell: Cell, name: string): Promise<void> {
    const { images } = this;
    const overlays = images.map((image) => image.replace(/qcow2$/, name));
    const tips = cell.disks.map((location, n) => (location === 'external' ? overlays : images)[n]);
    const { files, ...disks } = await this.look();
    expect(disks).toEqual({
      tips,
      next: tips,
      chains: cell.disks.map((location, n) => (location === 'external' ? [overlays[n], images[n]] : [images[n]])),
      inside: cell.disks.map((location) => (location === 'internal' ? [name] : [])),
    });
    this.#hasFiles(
      files,
      cell,
      name,
      tips.filter((tip) => tip !== undefined),
    );
  }

  /** Each captured disk has its state of that moment, in a new overlay where the snapshot is an overlay's base. */
  async #isReverted(cell: Cell, name: string, states: readonly (string | undefined)[]): Promise<readonly string[]> {
    const { images } = this;
    const { tips, next, chains, inside, files } = await this.look();
    for (const [n, location] of cell.disks.entries()) {
      const [tip = '', image = ''] = [tips[n], images[n]];
      if (location === 'external') expect(tip).toMatch(FRESH);
      expect(chains[n]).toEqual(location === 'external' ? [tip, image] : [image]);
      if (location !== 'no') expect(await this.#hash(tip)).toBe(states[n]);
    }
    expect(next).toEqual(tips);
    expect(inside).toEqual(cell.disks.map((location) => (location === 'internal' ? [name] : [])));
    this.#hasFiles(files, cell, name, tips);
    return tips;
  }

  #hasFiles(files: readonly string[], { memory }: Cell, name: string, tips: readonly string[]): void {
    const own = files.filter((file) => file.startsWith(IMAGES));
    const external = memory === 'external' ? [this.#memoryFile(name)] : [];
    expect(own).toEqual([...new Set([...this.images, ...tips, ...external])].sort());
    const stored = files.filter((file) => !file.startsWith(IMAGES)).map((file) => file.split('/').at(-1));
    expect(stored.sort()).toEqual(memory === 'internal' ? [`${name}.save`, `${name}.xml`] : [`${name}.xml`]);
  }
}
