/** What faults happen to: a folder, a daemon on it, a client, and everything that can be seen from outside. */

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Qmp } from '../../src/disks/qemu/qmp.ts';
import type { DomainRef, DomainState } from '../../src/model/domain.ts';
import { CREATE, XML } from '../../src/model/flags.ts';
import { RpcClient } from '../../src/rpc/client/client.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { newImage } from '../support/hosts/embedded.ts';
import { DISKS, Guest } from './guest.ts';
import { StepListener } from './steps.ts';

const URI = 'test:///default';
export const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';

/** Of a domain that is active, each with its id before it. */
const RUN_FILES = ['pid', 'log', 'qmp', 'nbd', 'ram'];
const SETTLE_MS = 10_000;

export class World implements AsyncDisposable {
  readonly home: string;
  readonly steps: StepListener;
  readonly guest: Guest;
  daemon: Xlsnapd;
  #client: RpcClient | undefined;

  private constructor(home: string, steps: StepListener, daemon: Xlsnapd) {
    this.home = home;
    this.guest = new Guest(join(home, 'state'), async () => (await this.client()).getXMLDesc(await this.domain(), 0));
    this.steps = steps;
    this.daemon = daemon;
  }

  /** The domain runs. It has two disks: an operation can be interrupted between them. */
  static async open(): Promise<World> {
    const home = await mkdtemp(join(tmpdir(), 'xlf-'));
    const steps = await StepListener.listen(join(home, 'steps'));
    const world = new World(home, steps, await startDaemon(home));
    const other = await newImage(world.images[1] ?? '');
    const client = await world.client();
    const xml = await client.getXMLDesc(await world.domain(), XML.INACTIVE);
    const disk =
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${other}'/>` +
      `<target dev='xvdb' bus='xen'/></disk>`;
    await client.defineXML(xml.replace('</devices>', `${disk}</devices>`));
    await world.destroy();
    await world.start();
    return world;
  }

  /** Of `DISKS`, in their order, when no overlay is on them. */
  get images(): readonly string[] {
    return ['test.qcow2', 'test-b.qcow2'].map((name) => join(this.home, 'state', name));
  }

  get journal(): string {
    return join(this.home, `state/journal/${UUID}.json`);
  }

  /** The overlays that an external snapshot of this name makes. */
  overlays(name: string): readonly string[] {
    return this.images.map((image) => image.replace(/qcow2$/, name));
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
    const id = await this.guest.run();
    const own = [
      'test.qcow2',
      'test-b.qcow2',
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
    const socket = (await this.guest.monitor()) ?? '';
    await using qmp = await Qmp.connect(socket, AbortSignal.timeout(SETTLE_MS));
    for (const [n, disk] of DISKS.entries()) {
      if (!(await snapshotsIn(this.images[n] ?? '')).includes(name)) continue;
      await qmp.execute('blockdev-snapshot-delete-internal-sync', { device: `${disk}-qcow2`, name }, `'${name}'`);
    }
    await rm(this.memoryImage(name), { force: true });
  }

  /** Internal snapshots in any of the images. */
  async inImages(): Promise<readonly string[]> {
    return [...new Set((await Promise.all(this.images.map(snapshotsIn))).flat())];
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
}

async function list(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name !== '.xlsnapd.lock');
}

function startDaemon(home: string): Promise<Xlsnapd> {
  return Xlsnapd.start({ home, env: { XLSNAPD_STEPS: join(home, 'steps') } });
}
