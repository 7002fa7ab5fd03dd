/** What all hosts of a daemon have in common: their parts, and the mechanism on Xen. */

import type { Acl } from '../../access/acl.ts';
import { qmpSocketOf } from '../../disks/qemu/qmp.ts';
import { LibxlHelper } from '../../libxl/helper/client.ts';
import type { Probe } from '../../libxl/helper/protocol.ts';
import { domainHold } from '../../libxl/hold.ts';
import { hostMemory } from '../../libxl/host-memory.ts';
import { domainSnapshotRecover } from '../../libxl/recover.ts';
import { checkDomainSnapshotSave, domainSnapshotSave } from '../../libxl/save.ts';
import type { DaemonStatus, MechanismName } from '../../model/daemon-status.ts';
import type { SystemCalls } from '../../native/system-calls.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { LifecycleHub } from '../../rpc/server/lifecycle-hub.ts';
import type { ConnectionHandler } from '../../rpc/server/server.ts';
import type { BlockApi, GuestApi, SaveApi, SaveImageApi, SnapshotApi } from '../../snapshots/api.ts';
import type { BlockDevices } from '../../snapshots/block-jobs/ports.ts';
import type { Host } from '../../snapshots/ports/host.ts';
import type { DomainSaves, SavedImages } from '../../snapshots/ports/saves.ts';
import type { ImageWriter } from '../../store/memory-folder.ts';
import { VERSION } from '../../version.ts';
import type { Access } from '../access.ts';
import type { Opened } from '../disposables.ts';
import type { Log } from '../log.ts';
import type { DaemonOptions } from '../options.ts';
import type { DomainsOf } from './domain-source.ts';

/** What is answered besides snapshots, if this is not the upstream's. */
export interface Besides {
  readonly blocks?: BlockApi;
  readonly guests?: GuestApi;
  readonly saves?: SaveApi;
  readonly saveImages?: SaveImageApi;
}

/** A host and what depends on it. */
export interface OpenedHost {
  readonly host: Host;
  /** By which it saves guests. */
  readonly mechanism: MechanismName;
  /** The user that writes memory images, if that is not this process. */
  readonly imageWriter?: ImageWriter;
  /** Makes the handler of clients' connections from the snapshots. */
  readonly front: (snapshots: SnapshotApi, besides: Besides) => ConnectionHandler;
  /** Block jobs of active domains; absent: the upstream is asked for them. */
  readonly blockDevices?: BlockDevices;
  /** Saves of domains that are not the upstream's; absent: there are none. */
  readonly saves?: DomainSaves;
  /** Images of saved domains; absent: the upstream is asked for them, or there are none. */
  readonly savedImages?: SavedImages;
  /** The domains for a front that does not pass calls on to the upstream. */
  readonly domains: DomainsOf;
  /** Judges as the upstream does; absent if it does not. */
  readonly acl?: Acl;
  /** Our own connection to the upstream libvirtd. */
  readonly upstream?: RpcClient;
}

/** What a host is opened with. */
export interface Surroundings {
  readonly hub: LifecycleHub;
  readonly log: Log;
  readonly system: SystemCalls;
  readonly access: Access;
  /** Everything that is opened is added here. */
  readonly opened: Opened;
}

/** The mechanism, for hosts. */
export const LIBXL = {
  checkDomainSnapshotSave,
  domainSnapshotSave,
  domainSnapshotRecover,
  domainHold,
  hostMemory,
  qmpSocketOf,
};

/** Whether libxl can be used here. */
export async function probeLibxl(): Promise<Probe> {
  await using helper = LibxlHelper.start();
  return await helper.probe();
}

/** How the daemon serves, for clients that ask it. */
export function statusOf(
  { snapshotDir, memoryDir, stateDir }: DaemonOptions,
  chosen: Pick<DaemonStatus, 'mechanism' | 'reason'>,
): DaemonStatus {
  return { version: VERSION, ...chosen, snapshotDir, memoryDir, stateDir };
}
