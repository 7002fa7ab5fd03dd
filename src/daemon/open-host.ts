/** Opens the owner of the domains, by the URI and the upstream: a libvirtd, or the embedded host. */

import { stat } from 'node:fs/promises';
import { Acl } from '../access/acl.ts';
import { OfflineImages } from '../disks/offline-snapshots.ts';
import { qmpSocketOf } from '../disks/qemu/qmp.ts';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { QemuBlockDevices } from '../hosts/block-devices.ts';
import { EmbeddedHost } from '../hosts/embedded/embedded-host.ts';
import { type ChosenMechanism, chooseMechanism, openLibvirtHost } from '../hosts/libvirt/choose-mechanism.ts';
import { checkSameDomain } from '../hosts/libvirt/save-rules.ts';
import { LibxlHelper } from '../libxl/helper/client.ts';
import type { Probe } from '../libxl/helper/protocol.ts';
import { domainHold } from '../libxl/hold.ts';
import { hostMemory } from '../libxl/host-memory.ts';
import { domainSnapshotRecover } from '../libxl/recover.ts';
import { checkDomainSnapshotSave, domainSnapshotSave } from '../libxl/save.ts';
import type { DaemonStatus, MechanismName } from '../model/daemon-status.ts';
import type { Domain, DomainRef } from '../model/domain.ts';
import type { SystemCalls } from '../native/system-calls.ts';
import { RpcClient } from '../rpc/client/client.ts';
import { proxy } from '../rpc/proxy/proxy.ts';
import type { LifecycleHub } from '../rpc/server/lifecycle-hub.ts';
import type { ConnectionHandler } from '../rpc/server/server.ts';
import { standalone } from '../rpc/server/standalone.ts';
import type { BlockApi, GuestApi, SaveApi, SnapshotApi } from '../snapshots/api.ts';
import type { BlockDevices } from '../snapshots/block-jobs/ports.ts';
import type { Host } from '../snapshots/ports/host.ts';
import type { OverlaidSaves } from '../snapshots/ports/saves.ts';
import { LiveDiskFiles } from '../store/live-disks.ts';
import type { ImageWriter } from '../store/memory-folder.ts';
import { VERSION, VERSION_NUMBER } from '../version.ts';
import type { Access } from './access.ts';
import type { Opened } from './disposables.ts';
import { type DomainsOf, embeddedDomains, upstreamDomains } from './domain-source.ts';
import type { Log } from './log.ts';
import { type DaemonOptions, readOnlySocketOf } from './options.ts';

/** LIBXL_SAVE_DIR of libvirt's xen driver. */
const XEN_MANAGED_SAVES = '/var/lib/libvirt/libxl/save';

/** What is answered besides snapshots, if this is not the upstream's. */
interface Besides {
  readonly blocks?: BlockApi;
  readonly guests?: GuestApi;
  readonly saves?: SaveApi;
}

interface OpenedHost {
  readonly host: Host;
  /** By which it saves guests. */
  readonly mechanism: MechanismName;
  /** The user that writes memory images, if that is not this process. */
  readonly imageWriter?: ImageWriter;
  /** Makes the handler of clients' connections from the snapshots. */
  readonly front: (snapshots: SnapshotApi, besides: Besides) => ConnectionHandler;
  /** Block jobs of active domains; absent: the upstream is asked for them. */
  readonly blockDevices?: BlockDevices;
  /** Saves of domains on overlays; absent: the host knows the images of its domains. */
  readonly saves?: OverlaidSaves;
  /** The domains for a front that does not pass calls on to the upstream. */
  readonly domains: DomainsOf;
  /** Judges as the upstream does; absent if it does not. */
  readonly acl?: Acl;
  /** Our own connection to the upstream libvirtd. */
  readonly upstream?: RpcClient;
}

interface Surroundings {
  readonly hub: LifecycleHub;
  readonly log: Log;
  readonly system: SystemCalls;
  readonly access: Access;
  /** Everything that is opened is added here. */
  readonly opened: Opened;
}

/** Opens the host that `options` ask for. */
export async function openHost(options: DaemonOptions, surroundings: Surroundings): Promise<OpenedHost> {
  return options.upstream === undefined
    ? await openEmbeddedHost(options, surroundings)
    : await openUpstreamHost(options, options.upstream, surroundings);
}

async function openEmbeddedHost(options: DaemonOptions, { hub, access, opened }: Surroundings): Promise<OpenedHost> {
  const host = opened.use(await EmbeddedHost.open({ stateDir: options.stateDir, events: hub }));
  return {
    host,
    mechanism: EMBEDDED.mechanism,
    domains: embeddedDomains(host),
    blockDevices: host.blockDevices,
    front: (snapshots, besides) =>
      standalone({
        uri: options.connect,
        entries: access.entries,
        version: VERSION_NUMBER,
        domains: host.domainApi,
        snapshots,
        ...besides,
        hub,
        status: statusOf(options, EMBEDDED),
      }),
  };
}

async function openUpstreamHost(
  options: DaemonOptions,
  path: string,
  { hub, log, system, access, opened }: Surroundings,
): Promise<OpenedHost> {
  const uri = options.upstreamUri ?? options.connect;
  const upstream = opened.use(await connectUpstream(path, uri, system));
  const driver = await upstream.getType();
  const chosen = await chooseMechanism(options.mechanism, driver, probeLibxl);
  logMechanism(chosen, log);
  const host = await openLibvirtHost({
    upstream,
    events: hub,
    images: new OfflineImages(),
    liveDisks: await LiveDiskFiles.open(options.stateDir, log.warning),
    ...(chosen.mechanism === 'libxl' && { libxl: LIBXL }),
    ...(driver === 'Xen' && { managedSaveDir: XEN_MANAGED_SAVES }),
    scratchDir: options.memoryDir,
    log: log.warning,
  });
  const nameOf = async (domain: DomainRef) => (await host.lookup(domain)).ref.name;
  const acl = access.acl ? new Acl({ authority: access.authority, driver, nameOf }) : undefined;
  return {
    host,
    mechanism: chosen.mechanism,
    ...(acl && { acl }),
    ...(driver !== 'Xen' && process.getuid?.() === 0 && { imageWriter: await stat(path) }),
    upstream,
    saves: host.saves,
    domains: upstreamDomains(host, upstream),
    ...(chosen.mechanism === 'libxl' && { blockDevices: xenBlockDevices(upstream) }),
    front: (snapshots, besides) =>
      proxy({
        upstream: path,
        upstreamReadOnly: () => readOnlySocketOf(path),
        ...(options.upstreamUri !== undefined && { upstreamUri: options.upstreamUri }),
        sendBuffer: system.sendBuffer,
        entries: access.entries,
        ...(acl && { acl }),
        snapshots,
        ...besides,
        hub,
        overlaid: host.overlaid,
        reverted: host.reverted,
        status: statusOf(options, chosen),
      }),
  };
}

/** By the monitor of the domain's device model. The id is asked for again: it may be another domain's by now. */
function xenBlockDevices(upstream: RpcClient): BlockDevices {
  const monitorOf = async ({ ref }: Domain): Promise<string> => {
    await checkSameDomain(upstream, ref);
    return await qmpSocketOf(ref.id);
  };
  return new QemuBlockDevices(monitorOf, { forgetsTransient: true });
}

async function connectUpstream(path: string, uri: string, system: SystemCalls): Promise<RpcClient> {
  try {
    return await RpcClient.connect({ path, uri, peerOf: system.peerCredentials });
  } catch (error) {
    const { code, detail } = asLibvirtError(error);
    const advice = uri.startsWith('xen:')
      ? 'start libvirtd there (Debian packages libvirt-daemon, libvirt-daemon-driver-xen), or name its socket with --upstream'
      : 'name the socket of a libvirtd with --upstream';
    throw new LibvirtError(code, `${detail} (no upstream for ${uri}: ${advice})`, { cause: error });
  }
}

const LIBXL = {
  checkDomainSnapshotSave,
  domainSnapshotSave,
  domainSnapshotRecover,
  domainHold,
  hostMemory,
  qmpSocketOf,
};

async function probeLibxl(): Promise<Probe> {
  await using helper = LibxlHelper.start();
  return await helper.probe();
}

function logMechanism({ mechanism, reason }: ChosenMechanism, log: Log): void {
  if (mechanism === 'libxl') {
    log.info(`snapshots of active domains are made by libxl: ${reason}`);
    return;
  }
  log.warning(
    `snapshots of active domains go through virDomainSave and virDomainRestore: ${reason}; a guest is off while its ` +
      'memory is written, and live snapshots are refused (docs/semantics.md)',
  );
}

const EMBEDDED = { mechanism: 'embedded', reason: 'the embedded host has no libvirtd' } as const;

function statusOf(
  { snapshotDir, memoryDir, stateDir }: DaemonOptions,
  chosen: Pick<DaemonStatus, 'mechanism' | 'reason'>,
): DaemonStatus {
  return { version: VERSION, ...chosen, snapshotDir, memoryDir, stateDir };
}
