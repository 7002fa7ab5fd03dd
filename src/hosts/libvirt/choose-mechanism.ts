/** Chooses which mechanism saves active domains, and opens the libvirt host with that mechanism. */

import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { Probe } from '../../libxl/helper/protocol.ts';
import type { MechanismOption } from '../../model/daemon-status.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { OfflineDisks } from '../../snapshots/ports/disks.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import type { LiveDisks } from '../../snapshots/ports/store.ts';
import { ByLibxl, type LibxlSnapshots } from './by-libxl.ts';
import { DeathWatch } from './death-watch.ts';
import { Departures } from './departures.ts';
import { Launcher } from './launch.ts';
import { LibvirtHost } from './libvirt-host.ts';
import { SavesOnOverlays } from './overlaid/overlaid-saves.ts';
import { BySaveAndRestore } from './save-and-restore/by-save-and-restore.ts';
import { SavedDomains } from './save-and-restore/saved-domains.ts';
import type { Upstream } from './upstream.ts';

/** A mechanism, and why it was chosen. */
export interface ChosenMechanism {
  readonly mechanism: 'libxl' | 'libvirt';
  /** A clause for the log and `xlsnap doctor`. */
  readonly reason: string;
}

/** virConnectGetType of libvirt's libxl driver, which loads only in the Domain-0 of a running Xen. */
const XEN = 'Xen';

/**
 * Chooses libxl if the upstream's driver is Xen's and `probe` finds that libxl works, else libvirt. With the option
 * `libvirt` never calls `probe`; with `libxl` refuses (NO_SUPPORT), with the reason, if libxl cannot be used. A probe
 * that rejects, because the helper process crashed or hung while it loaded the library, also means that libxl cannot be
 * used.
 */
export async function chooseMechanism(
  option: MechanismOption,
  driver: string,
  probe: () => Promise<Probe>,
): Promise<ChosenMechanism> {
  if (option === 'libvirt') return { mechanism: 'libvirt', reason: 'xlsnapd was started with --mechanism libvirt' };
  const found = driver === XEN ? await probe().catch(asLibvirtError) : undefined;
  if (found && !(found instanceof LibvirtError) && found.state === 'ready') {
    return { mechanism: 'libxl', reason: `${found.soname} was loaded` };
  }
  const reason = found ? `libxl cannot be used: ${found.message}` : `the upstream driver is ${driver}, not ${XEN}`;
  if (option === 'auto') return { mechanism: 'libvirt', reason };
  throw new LibvirtError('NO_SUPPORT', `${reason} (--mechanism auto serves through libvirt then)`);
}

interface OpenLibvirtHostOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  readonly images: OfflineDisks;
  readonly liveDisks: LiveDisks;
  /** Present if the mechanism is libxl; without it snapshots go through libvirt. */
  readonly libxl?: LibxlSnapshots;
  /** The folder in which libvirtd keeps managed saves as `NAME.save`; absent if its driver keeps them otherwise. */
  readonly managedSaveDir?: string;
  /** Folder in which libvirtd may write. */
  readonly scratchDir: string;
  readonly log: (text: string) => void;
}

/** Opens the host for an upstream that is connected. */
export async function openLibvirtHost(options: OpenLibvirtHostOptions): Promise<LibvirtHost> {
  const { upstream, events, libxl, liveDisks, log } = options;
  await followRuns(options);
  const departures = new Departures(upstream);
  const launcher = new Launcher(upstream, events);
  const savedDomains = new SavedDomains({ ...options, launcher });
  const mechanism = libxl
    ? new ByLibxl({
        upstream,
        libxl,
        liveDisks,
        savedDomains,
        log,
        deathWatch: new DeathWatch({ upstream, events, log }),
      })
    : new BySaveAndRestore({ ...options, driver: await upstream.getType(), launcher, departures, savedDomains });
  const saves = new SavesOnOverlays(options);
  return new LibvirtHost({ upstream, events, launcher, departures, mechanism, liveDisks, saves });
}

/** A record of live disks ends with the run of its domain, even if that ended while no daemon of ours ran. */
async function followRuns({ upstream, liveDisks, log }: OpenLibvirtHostOptions): Promise<void> {
  upstream.onLifecycle(({ uuid }, { event }) => {
    if (event !== LIFECYCLE.STOPPED_SHUTDOWN.event) return;
    void liveDisks.forget(uuid).catch((error) => log(asLibvirtError(error).message));
  });
  await liveDisks.keep(await upstream.listAllDomains());
}
