/** The guest of a world: what lies on its disks and in its RAM, and the process that runs it. */

import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasPattern, nbdUri, writePattern } from '../support/hosts/embedded.ts';

export const DISKS = ['xvda', 'xvdb'] as const;
/** Where in a guest's RAM its pattern is; the counter is before it. */
const RAM_AT = 4096;
const RAM_BYTES = 4096;
const SETTLE_MS = 10_000;
const POLL_MS = 10;

/** What lies on each disk and, of a domain that is active, in its RAM. */
export interface Contents {
  readonly disk: number;
  readonly ram?: number;
}

export class Guest {
  readonly #stateDir: string;
  readonly #definition: () => Promise<string>;

  /** `definition`: the domain's live one. */
  constructor(stateDir: string, definition: () => Promise<string>) {
    this.#stateDir = stateDir;
    this.#definition = definition;
  }

  /** Disks and RAM get this pattern. */
  async mark(pattern: number): Promise<void> {
    const id = await this.run();
    if (id === undefined) {
      await Promise.all((await this.#active()).map((path) => writePattern(path, 'qcow2', pattern)));
      return;
    }
    await Promise.all(DISKS.map((disk) => writePattern(this.#nbd(id, disk), 'raw', pattern)));
    await using file = await open(join(this.#stateDir, `${id}.ram`), 'r+');
    await file.write(Buffer.alloc(RAM_BYTES, pattern), 0, RAM_BYTES, RAM_AT);
  }

  /** What of the expected contents is not there. */
  async differences({ disk, ram }: Contents): Promise<readonly string[]> {
    const found: string[] = [];
    const id = await this.run();
    const active = id === undefined ? await this.#active() : [];
    const hold = await Promise.all(
      DISKS.map((target, n) =>
        id === undefined ? hasPattern(active[n] ?? '', 'qcow2', disk) : hasPattern(this.#nbd(id, target), 'raw', disk),
      ),
    );
    for (const [n, target] of DISKS.entries()) if (!hold[n]) found.push(`${target} does not hold pattern ${disk}`);
    if (ram !== undefined && id === undefined) found.push('there is no RAM');
    if (ram !== undefined && id !== undefined && (await this.#ram(id)) !== ram) {
      found.push(`the RAM holds pattern ${await this.#ram(id)}, not ${ram}`);
    }
    return found;
  }

  /** True when the counter in the guest's RAM goes up. */
  async counts(): Promise<boolean> {
    const id = await this.run();
    if (id === undefined) return false;
    const first = await this.#counter(id);
    for (const end = Date.now() + SETTLE_MS; Date.now() < end; await sleep(POLL_MS)) {
      if ((await this.#counter(id)) > first) return true;
    }
    return false;
  }

  /** Pid of the domain's device model. */
  async deviceModel(): Promise<number | undefined> {
    const id = await this.run();
    if (id === undefined) return undefined;
    return Number(await readFile(join(this.#stateDir, `${id}.pid`), 'utf8'));
  }

  async monitor(): Promise<string | undefined> {
    const id = await this.run();
    return id === undefined ? undefined : join(this.#stateDir, `${id}.qmp`);
  }

  /** The run of the domain whose files are there: its id. */
  async run(): Promise<string | undefined> {
    const names = await readdir(this.#stateDir);
    return names.find((name) => name.endsWith('.ram'))?.slice(0, -'.ram'.length);
  }

  #nbd(id: string, disk: string): string {
    return nbdUri(join(this.#stateDir, `${id}.nbd`), disk);
  }

  async #ram(id: string): Promise<number> {
    const ram = await readFile(join(this.#stateDir, `${id}.ram`));
    const [pattern = -1] = ram.subarray(RAM_AT, RAM_AT + RAM_BYTES);
    return ram.subarray(RAM_AT, RAM_AT + RAM_BYTES).every((byte) => byte === pattern) ? pattern : Number.NaN;
  }

  async #counter(id: string): Promise<bigint> {
    await using file = await open(join(this.#stateDir, `${id}.ram`), 'r');
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
    return buffer.readBigUInt64LE(0);
  }

  /** The images that the domain would write to. */
  async #active(): Promise<readonly string[]> {
    const xml = await this.#definition();
    return [...xml.matchAll(/<source file='([^']+)'/g)].flatMap(([, path]) => path ?? []);
  }
}
