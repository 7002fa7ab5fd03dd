/** Opens the owner of the domains, as the options say: a libvirtd, xl, or the embedded host. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Acl } from '../../access/acl.ts';
import { OfflineImages } from '../../disks/offline-snapshots.ts';
import { qmpSocketOf } from '../../disks/qemu/qmp.ts';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import { QemuBlockDevices } from '../../hosts/block-devices.ts';
import { EmbeddedHost } from '../../hosts/embedded/embedded-host.ts';
import { type ChosenMechanism, chooseMechanism, openLibvirtHost } from '../../hosts/libvirt/choose-mechanism.ts';
import { checkSameDomain } from '../../hosts/libvirt/save-rules.ts';
import { imageFiles } from '../../hosts/saved-images.ts';
import type { Domain, DomainRef } from '../../model/domain.ts';
import type { SystemCalls } from '../../native/system-calls.ts';
import { RpcClient } from '../../rpc/client/client.ts';
import { proxy } from '../../rpc/proxy/proxy.ts';
import { standalone } from '../../rpc/server/standalone.ts';
import type { BlockDevices } from '../../snapshots/block-jobs/ports.ts';
import { STATE_FOLDERS } from '../../store/default-folders.ts';
import { LiveDiskFiles } from '../../store/records/live-disks.ts';
import { VERSION_NUMBER } from '../../version.ts';
import type { Log } from '../log.ts';
import { type DaemonOptions, readOnlySocketOf } from '../options.ts';
import { ownDomains, upstreamDomains } from './domain-source.ts';
import { openXlHost } from './open-xl-host.ts';
import { LIBXL, type OpenedHost, probeLibxl, type Surroundings, statusOf } from './opened-host.ts';

/** LIBXL_SAVE_DIR of libvirt's xen driver. */
const XEN_MANAGED_SAVES = '/var/lib/libvirt/libxl/save';

/** Opens the host that `options` ask for. */
export async function openHost(options: DaemonOptions, surroundings: Surroundings): Promise<OpenedHost> {
  if (options.upstream !== undefined) return await openUpstreamHost(options, options.upstream, surroundings);
  return await (options.owner === 'xl' ? openXlHost : openEmbeddedHost)(options, surroundings);
}

async function openEmbeddedHost(options: DaemonOptions, { hub, access, opened }: Surroundings): Promise<OpenedHost> {
  const host = opened.use(
    await EmbeddedHost.open({
      stateDir: options.stateDir,
      managedSaveDir: join(options.stateDir, STATE_FOLDERS.managedSaves),
      events: hub,
    }),
  );
  return {
    host,
    mechanism: EMBEDDED.mechanism,
    domains: ownDomains(host, host.domainApi, VERSION_NUMBER),
    blockDevices: host.blockDevices,
    saves: host.saves,
    savedImages: imageFiles((domain) => host.managedSavePath(domain)),
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
    ...(driver === 'Xen' && {
      savedImages: imageFiles(({ name }) => join(XEN_MANAGED_SAVES, `${name}.save`)),
    }),
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
