/**
 * A Xen host without libvirt: xl owns the domains. libxl says which run, xl's files which are configured. Every guest is
 * started by xl, whose monitor stays with it, also after a revert.
 */

import { stat } from 'node:fs/promises';
import { deleteLiveSnapshots } from '../../disks/live-delete.ts';
import { checkLiveLayers, commitLiveLayers } from '../../disks/overlays/live-commit.ts';
import { LibvirtError, neverAborted } from '../../errors.ts';
import type { hostMemory } from '../../libxl/host-memory.ts';
import { checkLibxlStream, readMemoryImage } from '../../memory/image-file.ts';
import { checkTie, retie } from '../../memory/tie.ts';
import type { LayerCommit } from '../../model/disk-image.ts';
import { type Domain, type DomainDefinition, type DomainRef, isActive } from '../../model/domain.ts';
import type { LibxlDiskSnapshot, LibxlDomainSnapshot, LibxlDomainSnapshotArgs } from '../../model/libxl.ts';
import type { TieState } from '../../model/snapshot.ts';
import type { Host, Interruption, LifecycleEvents, SavedMemory } from '../../snapshots/ports/host.ts';
import type { Job, MergeJob } from '../../snapshots/ports/jobs.ts';
import { freezeGuest } from '../guest-agent.ts';
import { checkHostMemory } from '../host-memory.ts';
import { tieStateOf } from '../memory-of-snapshot.ts';
import { checkSavedDefinition } from '../saved-definition.ts';
import { CONFIG_FOLDERS, ConfigFiles } from './config-files.ts';
import { checkSameRun } from './domain.ts';
import { XlDomainApi } from './domain-api.ts';
import { XlDomains } from './domains.ts';
import { configOfDefinition, type PipeOf, XlLauncher } from './launch.ts';
import type { Monitors } from './monitors.ts';
import type { LibxlReader } from './reading.ts';
import { type LibxlSaves, XlSaves } from './saves.ts';
import type { WatchesOptions } from './watches.ts';
import { savedFile, XENDOMAINS_SAVE } from './xendomains.ts';
import type { Xl } from './xl.ts';

const XL_CONF = '/etc/xen/xl.conf';

/** What else of Xen is used here. */
export interface XlToolstack extends LibxlSaves {
  readonly hostMemory: typeof hostMemory;
  qmpSocketOf(domid: number): Promise<string>;
  readXenstore(path: string): Promise<string | undefined>;
  readonly pipe: PipeOf;
}

/** The parts of an XlHost. */
export interface XlHostOptions {
  readonly xl: Xl;
  readonly reader: LibxlReader;
  readonly toolstack: XlToolstack;
  readonly monitors: Monitors;
  /** True for Xen until 4.19. */
  readonly monitorsLeave: boolean;
  /** Starts the watches. */
  readonly watch: (options: WatchesOptions) => Disposable;
  readonly configFolders?: readonly string[];
  readonly saveFolder?: string;
  readonly events: LifecycleEvents;
  readonly log: (text: string) => void;
}

/** Host of the policy over xl's domains. Disposing ends its helper and its watches; the guests stay. */
export class XlHost implements Host, AsyncDisposable {
  /** The same domains for ordinary clients. */
  readonly domainApi: XlDomainApi;
  readonly #domains: XlDomains;
  readonly #toolstack: XlToolstack;
  readonly #saves: XlSaves;
  readonly #launcher: XlLauncher;
  readonly #reader: LibxlReader;
  readonly #watches: Disposable;
  readonly #saveFolder: string;

  constructor(options: XlHostOptions) {
    const { xl, reader, toolstack, monitors, monitorsLeave, watch, events, log } = options;
    const { configFolders = CONFIG_FOLDERS, saveFolder = XENDOMAINS_SAVE } = options;
    const files = new ConfigFiles(xl, configFolders, log);
    const domains = new XlDomains({ reader, files, events });
    const vncPort = (id: number) => toolstack.readXenstore(`/local/domain/${id}/console/vnc-port`);
    this.domainApi = new XlDomainApi({ domains, xl, saveFolder, vncPort });
    this.#domains = domains;
    this.#toolstack = toolstack;
    this.#saves = new XlSaves({ domains, libxl: toolstack, monitors, monitorsLeave, log });
    this.#launcher = new XlLauncher({ domains, xl, pipe: toolstack.pipe, saveFolder, log });
    this.#reader = reader;
    this.#saveFolder = saveFolder;
    this.#watches = watch({ folders: configFolders, changed: () => void domains.all().catch(() => {}), log });
  }

  async lookup(ref: DomainRef): Promise<Domain> {
    return await this.#domainOf(await this.#domains.find(ref));
  }

  async list(): Promise<readonly Domain[]> {
    return await Promise.all((await this.#domains.all()).map((domain) => this.#domainOf(domain)));
  }

  async definition({ ref }: Domain, which: 'live' | 'persistent'): Promise<DomainDefinition> {
    return await this.#domains.definition(await this.#domains.find(ref), which);
  }

  async volumePath(): Promise<string> {
    throw new LibvirtError('NO_SUPPORT', 'virStoragePoolLookupByName');
  }

  async checkSave(domain: Domain, args: LibxlDomainSnapshotArgs): Promise<void> {
    await this.#saves.check(domain, args);
  }

  async save(domain: Domain, name: string, args: LibxlDomainSnapshotArgs, job: Job): Promise<LibxlDomainSnapshot> {
    return await this.#domains.alone(domain.ref, () => this.#saves.save(domain, name, args, job));
  }

  /** No other client has jobs on xl's domains. */
  async idle(): Promise<void> {}

  recover(domain: Domain, interrupted: Interruption): Promise<void> {
    return this.#saves.recover(domain, interrupted);
  }

  async deleteDiskSnapshots({ ref }: Domain, name: string, disks: readonly LibxlDiskSnapshot[]): Promise<void> {
    if (disks.length === 0) return;
    const monitor = () => this.#monitorOf(ref);
    const hold = () => this.#toolstack.domainHold(ref.id);
    await this.#domains.alone(ref, () => deleteLiveSnapshots({ name, disks, monitor, hold, signal: neverAborted() }));
  }

  async checkCommit({ ref }: Domain, layers: readonly LayerCommit[]): Promise<void> {
    if (layers.length > 0) await checkLiveLayers(await this.#monitorOf(ref), layers);
  }

  async commit({ ref }: Domain, layers: readonly LayerCommit[], job: MergeJob): Promise<void> {
    if (layers.length === 0) return;
    await commitLiveLayers({ socket: await this.#monitorOf(ref), layers, ...job });
  }

  async checkSetDisks({ ref }: Domain): Promise<void> {
    const text =
      `the disks of domain '${ref.name}' cannot move to other images: xl starts it from its own file, which goes on naming ` +
      'the images that it has now; take an internal snapshot';
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }

  async setDisks(domain: Domain): Promise<void> {
    await this.checkSetDisks(domain);
  }

  async freeze({ ref }: Domain): Promise<AsyncDisposable> {
    return await freezeGuest(await this.#domains.definition(await this.#domains.find(ref), 'live'));
  }

  async checkRestore({ ref }: Domain, { path, name, disks }: SavedMemory, definition: DomainDefinition): Promise<void> {
    const image = await readMemoryImage(path);
    await checkLibxlStream(image);
    checkSavedDefinition(ref, { path, xml: image.domainXml }, definition);
    configOfDefinition(definition);
    await checkTie(path, name, disks);
  }

  async checkMemory(domain: Domain, definition: DomainDefinition, memoryPath?: string): Promise<void> {
    if (memoryPath === undefined) await this.#launcher.checkBoot(domain.ref, definition);
    const memory = await this.#toolstack.hostMemory().catch(() => undefined);
    if (!memory) return;
    const live = isActive(domain) ? await this.definition(domain, 'live') : undefined;
    const image = memoryPath === undefined ? undefined : await stat(memoryPath).catch(() => undefined);
    const wanted = { definition, ...(image && { imageBytes: image.size }), ...(live && { live }) };
    await checkHostMemory(memory, domain.ref, wanted, XL_CONF);
  }

  /** xl itself looks for bridges and devices; nobody can be asked before. */
  async checkParts(): Promise<void> {}

  /** Nothing is defined: the files are the user's. */
  async checkDefinition(): Promise<void> {}

  retie({ path, name, disks }: SavedMemory): Promise<void> {
    return retie(path, name, disks);
  }

  tieState(memory: Pick<SavedMemory, 'path' | 'name'>): Promise<TieState> {
    return tieStateOf(memory, async () => (await readMemoryImage(memory.path)).domainXml);
  }

  destroy({ ref }: Domain): Promise<void> {
    return this.#launcher.destroy(ref);
  }

  restore({ ref }: Domain, memoryPath: string, options: Parameters<Host['restore']>[2]): Promise<void> {
    return this.#launcher.restore(ref, memoryPath, options);
  }

  /** The files are the user's. */
  async define(definition: DomainDefinition): Promise<void> {
    await this.#launcher.reportOtherDisks(definition);
  }

  start({ ref }: Domain, options: Parameters<Host['start']>[1]): Promise<void> {
    return this.#launcher.start(ref, options);
  }

  /** Never: a guest without a file may be started again by xl, and snapshots are kept for it. */
  onGone(): void {}

  onRenamed(listener: (ref: DomainRef) => void): void {
    this.#domains.onRenamed(listener);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watches[Symbol.dispose]();
    await this.#reader[Symbol.asyncDispose]();
  }

  async #domainOf({ ref, state, configured }: Awaited<ReturnType<XlDomains['find']>>): Promise<Domain> {
    const domain: Domain = { ref, state, persistent: configured !== undefined };
    if (isActive(domain)) return domain;
    const saved = await savedFile(this.#saveFolder, ref.name);
    return saved === undefined ? domain : { ...domain, managedSave: true };
  }

  /** The id is asked for again: it may be another domain's by now. */
  async #monitorOf(ref: DomainRef): Promise<string> {
    checkSameRun(await this.#domains.findActive(ref), ref);
    return await this.#toolstack.qmpSocketOf(ref.id);
  }
}
