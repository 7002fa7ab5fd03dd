/** What faults happen to: a folder, a daemon on it, a client, and everything that can be seen from outside. */

import { mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Qmp } from '../../src/disks/qemu/qmp.ts';
import type { DomainRef, DomainState } from '../../src/model/domain.ts';
import { CREATE, XML } from '../../src/model/flags.ts';
import { RpcClient } from '../../src/rpc/client/client.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { hasPattern, nbdUri, writePattern } from '../support/hosts/embedded.ts';
import { StepListener } from './steps.ts';

const URI = 'test:///default';
export const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/** Where in a guest's RAM its pattern is; the counter is before it. */
const RAM_AT = 4096;
const RAM_BYTES = 4096;
/** Of a domain that is active, each with its id before it. */
const RUN_FILES = ['pid', 'log', 'qmp', 'nbd', 'ram'];
const SETTLE_MS = 10_000;
const POLL_MS = 10;

/** What lies on the disk and, of a domain that is active, in its RAM. */
export interface Contents {
  readonly disk: number;
  readonly ram?: number;
}

export class World implements AsyncDisposable {
  readonly home: string;
  readonly steps: StepListener;
  daemon: Xlsnapd;
  #client: RpcClient | undefined;

  private constructor(home: string, steps: StepListener, daemon: Xlsnapd) {
    this.home = home;
    this.steps = steps;
    this.daemon = daemon;
  }

  static async open(): Promise<World> {
    const home = await mkdtemp(join(tmpdir(), 'xlf-'));
    const steps = await StepListener.listen(join(home, 'steps'));
    return new World(home, steps, await startDaemon(home));
  }

  get image(): string {
    return join(this.home, 'state/test.qcow2');
  }

  get journal(): string {
    return join(this.home, `state/journal/${UUID}.json`);
  }

  /** The overlay that an external snapshot of this name makes. */
  overlay(name: string): string {
    return join(this.home, `state/test.${name}`);
  }

  externalMemory(name: string): string {
    return join(this.home, `${name}.mem`);
  }

  memoryImage(name: string): string {
    return join(this.home, 'memory', UUID, `${name}.save`);
  }

  metadata(name: string): string {
    return join(this.home, 'snapshot/test', `${name}.xml`);
  }

  /** A connection that stays until the daemon is another one. */
  async client(): Promise<RpcClient> {
    this.#client ??= await this.newClient();
    return this.#client;
  }

  newClient(): Promise<RpcClient> {
    return RpcClient.connect({ path: this.daemon.socket, uri: URI });
  }

  async domain(): Promise<DomainRef> {
    return (await this.client()).lookupByUUID(UUID);
  }

  async state(): Promise<DomainState> {
    return (await this.client()).getState(await this.domain());
  }

  async listed(): Promise<readonly string[]> {
    return [...(await (await this.client()).snapshots.listNames(await this.domain(), 0))].sort();
  }

  /** `more`: what else is in its XML. */
  async create(name: string, flags = 0, more = ''): Promise<void> {
    const xml = `<domainsnapshot><name>${name}</name>${more}</domainsnapshot>`;
    await (await this.client()).snapshots.createXML(await this.domain(), xml, flags);
  }

  async describe(name: string): Promise<string> {
    return await (await this.client()).snapshots.getXMLDesc({ name, domain: await this.domain() }, 0);
  }

  async redefine(xml: string): Promise<void> {
    await (await this.client()).snapshots.createXML(await this.domain(), xml, CREATE.REDEFINE);
  }

  async revert(name: string, flags = 0): Promise<void> {
    await (await this.client()).snapshots.revert({ name, domain: await this.domain() }, flags);
  }

  async delete(name: string, flags = 0): Promise<void> {
    await (await this.client()).snapshots.delete({ name, domain: await this.domain() }, flags);
  }

  /** Takes the way out that an error names. */
  async deleteAsTold(name: string): Promise<void> {
    try {
      await this.delete(name);
    } catch (error) {
      if (!/shut the guest off first/.test((error as Error).message)) throw error;
      await this.destroy();
      await this.delete(name);
    }
  }

  async start(): Promise<void> {
    await (await this.client()).createWithFlags(await this.domain(), 0);
  }

  async pause(): Promise<void> {
    await (await this.client()).suspend(await this.domain());
  }

  async destroy(): Promise<void> {
    await (await this.client()).destroy(await this.domain());
  }

  /** Both disk and RAM get this pattern. */
  async mark(pattern: number): Promise<void> {
    const id = await this.#run();
    if (id === undefined) {
      await writePattern(await this.#tip(), 'qcow2', pattern);
      return;
    }
    await writePattern(this.#nbd(id), 'raw', pattern);
    await using file = await open(join(this.home, `state/${id}.ram`), 'r+');
    await file.write(Buffer.alloc(RAM_BYTES, pattern), 0, RAM_BYTES, RAM_AT);
  }

  /** What of the expected contents is not there. */
  async differences({ disk, ram }: Contents): Promise<readonly string[]> {
    const found: string[] = [];
    const id = await this.#run();
    const onDisk =
      id === undefined
        ? await hasPattern(await this.#tip(), 'qcow2', disk)
        : await hasPattern(this.#nbd(id), 'raw', disk);
    if (!onDisk) found.push(`the disk does not hold pattern ${disk}`);
    if (ram !== undefined && id === undefined) found.push('there is no RAM');
    if (ram !== undefined && id !== undefined && (await this.#ram(id)) !== ram) {
      found.push(`the RAM holds pattern ${await this.#ram(id)}, not ${ram}`);
    }
    return found;
  }

  /** True when the counter in the guest's RAM goes up. */
  async counts(): Promise<boolean> {
    const id = await this.#run();
    if (id === undefined) return false;
    const first = await this.#counter(id);
    for (const end = Date.now() + SETTLE_MS; Date.now() < end; await sleep(POLL_MS)) {
      if ((await this.#counter(id)) > first) return true;
    }
    return false;
  }

  /** Pid of the domain's device model. */
  async deviceModel(): Promise<number | undefined> {
    const id = await this.#run();
    if (id === undefined) return undefined;
    return Number(await readFile(join(this.home, `state/${id}.pid`), 'utf8'));
  }

  async monitor(): Promise<string | undefined> {
    const id = await this.#run();
    return id === undefined ? undefined : join(this.home, `state/${id}.qmp`);
  }

  /** How many there are, whatever this daemon or one before it knows of them. */
  async deviceModels(): Promise<number> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
    return lines.filter((line) => line.startsWith('qemu-storage-daemon') && line.includes(this.home)).length;
  }

  memoryImages(): Promise<readonly string[]> {
    return list(dirname(this.memoryImage('')));
  }

  metadataFiles(): Promise<readonly string[]> {
    return list(dirname(this.metadata('')));
  }

  journalFiles(): Promise<readonly string[]> {
    return list(dirname(this.journal));
  }

  /** Files that neither one run of the domain, nor its definition, nor a snapshot's accounts for. */
  async strayFiles(): Promise<readonly string[]> {
    const client = await this.client();
    const domain = await this.domain();
    const documents = [await client.getXMLDesc(domain, 0), await client.getXMLDesc(domain, XML.INACTIVE)];
    for (const name of await this.listed()) documents.push(await this.describe(name));
    const id = await this.#run();
    const own = [
      'test.qcow2',
      'definition.xml',
      'journal',
      '.xlsnapd.lock',
      ...(id === undefined ? [] : RUN_FILES.map((suffix) => `${id}.${suffix}`)),
    ];
    const named = (path: string) => documents.some((text) => text.includes(`'${path}'`));
    const state = (await list(join(this.home, 'state'))).filter((name) => !own.includes(name));
    const home = (await list(this.home)).filter((name) => name.endsWith('.mem'));
    return [...state.map((name) => join('state', name)), ...home].filter((name) => !named(join(this.home, name)));
  }

  /** Those that an error has told of. */
  async removeStrayFiles(): Promise<void> {
    for (const name of await this.strayFiles()) await rm(join(this.home, name), { force: true });
  }

  /** Takes the data of a snapshot away that has no metadata. The domain runs. */
  async forget(name: string): Promise<void> {
    const socket = (await this.monitor()) ?? '';
    await using qmp = await Qmp.connect(socket, AbortSignal.timeout(SETTLE_MS));
    if ((await this.inImage()).includes(name)) {
      await qmp.execute('blockdev-snapshot-delete-internal-sync', { device: 'xvda-qcow2', name }, `'${name}'`);
    }
    await rm(this.memoryImage(name), { force: true });
  }

  inImage(): Promise<readonly string[]> {
    return snapshotsIn(this.image);
  }

  /** Ends the daemon as a crash does, where that has not happened yet, and starts the next one on the same folder. */
  async restart(): Promise<void> {
    this.dropClient();
    await this.daemon.stop('SIGKILL');
    this.daemon = await startDaemon(this.home);
  }

  dropClient(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dropClient();
    await this.daemon.stop();
    await this.steps[Symbol.asyncDispose]();
    await rm(this.home, { recursive: true, force: true });
  }

  /** The image that the domain would write to. */
  async #tip(): Promise<string> {
    const xml = await (await this.client()).getXMLDesc(await this.domain(), 0);
    return /<source file='([^']+)'/.exec(xml)?.[1] ?? this.image;
  }

  /** The run of the domain whose files are there: its id. */
  async #run(): Promise<string | undefined> {
    const names = await readdir(join(this.home, 'state'));
    return names.find((name) => name.endsWith('.ram'))?.slice(0, -'.ram'.length);
  }

  #nbd(id: string): string {
    return nbdUri(join(this.home, `state/${id}.nbd`), 'xvda');
  }

  async #ram(id: string): Promise<number> {
    const ram = await readFile(join(this.home, `state/${id}.ram`));
    const [pattern = -1] = ram.subarray(RAM_AT, RAM_AT + RAM_BYTES);
    return ram.subarray(RAM_AT, RAM_AT + RAM_BYTES).every((byte) => byte === pattern) ? pattern : Number.NaN;
  }

  async #counter(id: string): Promise<bigint> {
    await using file = await open(join(this.home, `state/${id}.ram`), 'r');
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0);
    return buffer.readBigUInt64LE(0);
  }
}

async function list(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name !== '.xlsnapd.lock');
}

function startDaemon(home: string): Promise<Xlsnapd> {
  return Xlsnapd.start({ home, env: { XLSNAPD_STEPS: join(home, 'steps') } });
}
