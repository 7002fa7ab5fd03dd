/** Who owns the domains, by the URI and the upstream: a libvirtd with or without libxl beside it, or ourselves. */

import { Qcow2Images } from '../disks/qcow2.ts';
import { qmpSocketOf } from '../disks/qmp.ts';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import { besideLibvirt } from '../hosts/beside-libvirt.ts';
import { DeathWatch } from '../hosts/death-watch.ts';
import { Departures } from '../hosts/departures.ts';
import { LibvirtHost } from '../hosts/libvirt.ts';
import { TestHost } from '../hosts/test.ts';
import { throughLibvirt } from '../hosts/through-libvirt.ts';
import { LibxlHelper } from '../libxl/helper-process.ts';
import { domainSnapshotSave } from '../libxl/save.ts';
import { RpcClient } from '../rpc/client.ts';
import type { LifecycleHub } from '../rpc/events.ts';
import { proxy } from '../rpc/proxy.ts';
import type { ConnectionHandler } from '../rpc/server.ts';
import { standalone } from '../rpc/standalone.ts';
import type { SnapshotApi } from '../snapshots/api.ts';
import type { Host } from '../snapshots/ports.ts';
import type { Log } from './log.ts';
import type { Opened } from './opened.ts';
import { type DaemonOptions, readOnlySocketOf } from './options.ts';
import { VERSION_NUMBER } from './version.ts';

export interface OpenedHost {
  readonly host: Host;
  /** What serves a client's connection, once the snapshots are there. */
  readonly front: (snapshots: SnapshotApi) => ConnectionHandler;
}

interface Surroundings {
  readonly hub: LifecycleHub;
  readonly log: Log;
  /** Whatever is opened goes in here. */
  readonly opened: Opened;
}

export async function openHost(options: DaemonOptions, surroundings: Surroundings): Promise<OpenedHost> {
  return options.upstream === undefined
    ? await openTestHost(options, surroundings)
    : await openLibvirtHost(options, options.upstream, surroundings);
}

async function openTestHost(options: DaemonOptions, { hub, opened }: Surroundings): Promise<OpenedHost> {
  const host = opened.use(await TestHost.open({ stateDir: options.stateDir, events: hub }));
  return {
    host,
    front: (snapshots) =>
      standalone({ uri: options.connect, version: VERSION_NUMBER, domains: host.domainApi, snapshots, hub }),
  };
}

async function openLibvirtHost(
  options: DaemonOptions,
  path: string,
  { hub, log, opened }: Surroundings,
): Promise<OpenedHost> {
  const uri = options.upstreamUri ?? options.connect;
  const upstream = opened.use(await connectUpstream(path, uri));
  const departures = new Departures(upstream);
  const beside = (await upstream.getType()) === 'Xen';
  if (beside) await requireLibxl();
  else log.info(`the upstream's driver is not Xen's: snapshots are taken through libvirt, by save and restore`);
  const mechanism = beside
    ? besideLibvirt({
        upstream,
        deathWatch: new DeathWatch({ upstream, events: hub, log: log.error }),
        domainSnapshotSave,
        qmpSocketOf,
      })
    : throughLibvirt({ upstream, events: hub, departures, images: new Qcow2Images() });
  return {
    host: new LibvirtHost({ upstream, events: hub, departures, mechanism }),
    front: (snapshots) =>
      proxy({
        upstream: path,
        upstreamReadOnly: readOnlySocketOf(path),
        ...(options.upstreamUri !== undefined && { upstreamUri: options.upstreamUri }),
        snapshots,
        hub,
      }),
  };
}

async function connectUpstream(path: string, uri: string): Promise<RpcClient> {
  try {
    return await RpcClient.connect({ path, uri });
  } catch (error) {
    const { code, detail } = asLibvirtError(error);
    const advice = uri.startsWith('xen:')
      ? 'start libvirtd there (Debian packages libvirt-daemon, libvirt-daemon-driver-xen), or name its socket with --upstream'
      : 'name the socket of a libvirtd with --upstream';
    throw new LibvirtError(code, `${detail} (no upstream for ${uri}: ${advice})`, { cause: error });
  }
}

/** Libxl must be usable before the first snapshot is asked for. */
async function requireLibxl(): Promise<void> {
  await using helper = LibxlHelper.start();
  const probe = await helper.probe();
  if (probe.state !== 'ready') throw new LibvirtError('NO_SUPPORT', probe.message);
}
