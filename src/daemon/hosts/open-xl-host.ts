/** Opens the host whose domains xl owns. */

import { LibvirtError } from '../../errors.ts';
import { CONFIG_FOLDERS } from '../../hosts/xl/config-files.ts';
import { Monitors } from '../../hosts/xl/monitors.ts';
import { LibxlReader } from '../../hosts/xl/reading.ts';
import { Watches } from '../../hosts/xl/watches.ts';
import { XL_PROGRAM } from '../../hosts/xl/xl.ts';
import { XlHost } from '../../hosts/xl/xl-host.ts';
import { XEN } from '../../libxl/toolstack.ts';
import { standalone } from '../../rpc/server/standalone.ts';
import type { DaemonOptions } from '../options.ts';
import { ownDomains } from './domain-source.ts';
import { LIBXL, type OpenedHost, probeLibxl, type Surroundings, statusOf } from './opened-host.ts';

/** The first Xen 4 whose xl goes on watching a guest that was suspended (its commit 6b8c85872e). */
const MONITORS_STAY_SINCE = 20;

/** Rejects (NO_SUPPORT, with the reason) if libxl cannot be used here. */
export async function openXlHost(
  options: DaemonOptions,
  { hub, log, system, access, opened }: Surroundings,
): Promise<OpenedHost> {
  const found = await probeLibxl();
  if (found.state !== 'ready') throw new LibvirtError('NO_SUPPORT', `--upstream xl needs libxl: ${found.message}`);
  const minor = Number(/\.(\d+)$/.exec(found.soname)?.[1]);
  const host = opened.use(
    new XlHost({
      xl: XL_PROGRAM,
      reader: new LibxlReader(XEN.startHelper),
      toolstack: { ...LIBXL, readXenstore: XEN.readXenstore, pipe: system.pipe },
      monitors: new Monitors(options.stateDir),
      monitorsLeave: minor < MONITORS_STAY_SINCE,
      configFolders: [...CONFIG_FOLDERS, ...options.configDirs],
      watch: (watched) => new Watches(watched),
      events: hub,
      log: log.warning,
    }),
  );
  const mechanism = { mechanism: 'libxl', reason: `${found.soname} was loaded, and xl owns the domains` } as const;
  log.info(mechanism.reason);
  // virConnectGetVersion is the hypervisor's.
  const version = 4_000_000n + 1_000n * BigInt(minor);
  return {
    host,
    mechanism: 'libxl',
    domains: ownDomains(host, host.domainApi, version),
    front: (snapshots, besides) =>
      standalone({
        uri: options.connect,
        entries: access.entries,
        version,
        domains: host.domainApi,
        snapshots,
        ...besides,
        hub,
        status: statusOf(options, mechanism),
      }),
  };
}
