/** Puts the libvirt host together, with the mechanism that its upstream allows. */

import { asLibvirtError } from '../../errors.ts';
import { LIFECYCLE } from '../../model/events.ts';
import type { LifecycleEvents, LiveDisks, OfflineDisks } from '../../snapshots/ports.ts';
import { BesideLibvirt, type LibxlSnapshots } from './by-libxl.ts';
import { ThroughLibvirt } from './by-save-and-restore.ts';
import { DeathWatch } from './death-watch.ts';
import { Departures } from './departures.ts';
import { Launcher } from './launch.ts';
import { LibvirtHost } from './libvirt-host.ts';
import type { Upstream } from './upstream.ts';

interface OpenLibvirtHostOptions {
  readonly upstream: Upstream;
  readonly events: LifecycleEvents;
  readonly images: OfflineDisks;
  readonly liveDisks: LiveDisks;
  /** Absent where libxl cannot be used. */
  readonly libxl?: LibxlSnapshots;
  /** Folder in which libvirtd may write; used where snapshots go through libvirt. */
  readonly scratchDir: string;
  readonly log: (text: string) => void;
}

/** virConnectGetType of libvirt's libxl driver. */
const XEN = 'Xen';

/** Chosen once: libxl beside libvirtd for Xen's domains, else everything through libvirt, and the log says which. */
export async function openLibvirtHost(options: OpenLibvirtHostOptions): Promise<LibvirtHost> {
  const { upstream, events, libxl, liveDisks, log } = options;
  const type = await upstream.getType();
  await followRuns(options);
  const departures = new Departures(upstream);
  const launcher = new Launcher(upstream, events);
  if (type === XEN && libxl) {
    const deathWatch = new DeathWatch({ upstream, events, log });
    const mechanism = new BesideLibvirt({ upstream, libxl, deathWatch });
    return new LibvirtHost({ upstream, events, launcher, departures, mechanism, liveDisks });
  }
  const reason = type === XEN ? 'libxl cannot be used' : `the upstream driver is ${type}, not ${XEN}`;
  log(`${reason}: snapshots of active domains go through virDomainSave and virDomainRestore`);
  const mechanism = new ThroughLibvirt({ ...options, driver: type, launcher, departures });
  return new LibvirtHost({ upstream, events, launcher, departures, mechanism, liveDisks });
}

/** What is known of a run of a domain ends with it, also while no daemon of ours was there. */
async function followRuns({ upstream, liveDisks, log }: OpenLibvirtHostOptions): Promise<void> {
  upstream.onLifecycle(({ uuid }, { event }) => {
    if (event !== LIFECYCLE.STOPPED_SHUTDOWN.event) return;
    void liveDisks.forget(uuid).catch((error) => log(asLibvirtError(error).message));
  });
  await liveDisks.keep(await upstream.listAllDomains());
}
