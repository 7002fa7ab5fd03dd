/** What clients can ask for besides snapshots, over one host: block jobs, guests' agents, saves. */

import { agentShutdown, freezeFileSystems, thawFileSystems } from '../hosts/guest-agent.ts';
import { agentCommand, guestFileSystems, guestTime, setGuestTime } from '../hosts/guest-agent-calls.ts';
import { guestInformation, guestVcpus, setGuestVcpus } from '../hosts/guest-information.ts';
import type { LifecycleHub } from '../rpc/server/lifecycle-hub.ts';
import { BlockService } from '../snapshots/block-jobs/service.ts';
import type { SnapshotContext } from '../snapshots/context.ts';
import { GuestService } from '../snapshots/guest-service.ts';
import { SaveImageService } from '../snapshots/saves/images.ts';
import { SaveService } from '../snapshots/saves/service.ts';
import { BlockJobFiles } from '../store/records/block-job-files.ts';
import { SaveFiles } from '../store/records/save-files.ts';
import type { Opened } from './disposables.ts';
import type { Besides, OpenedHost } from './hosts/opened-host.ts';
import type { Log } from './log.ts';
import type { DaemonOptions } from './options.ts';

const GUEST_AGENT = {
  ...{ freezeFileSystems, thawFileSystems, agentShutdown, agentCommand },
  ...{ guestFileSystems, guestTime, setGuestTime, guestInformation, guestVcpus, setGuestVcpus },
};

interface Surroundings {
  readonly context: SnapshotContext;
  readonly hub: LifecycleHub;
  readonly log: Log;
  /** What is opened is added here. */
  readonly opened: Opened;
}

/** Goes on with block jobs and completes saves that an earlier daemon has begun. */
export async function openBesides(
  { stateDir }: Pick<DaemonOptions, 'stateDir'>,
  { blockDevices, saves, savedImages }: Pick<OpenedHost, 'blockDevices' | 'saves' | 'savedImages'>,
  { context, hub, log, opened }: Surroundings,
): Promise<Besides> {
  const records = new BlockJobFiles(stateDir);
  const blocks =
    blockDevices && opened.use(await BlockService.open(context, { devices: blockDevices, records, events: hub }));
  const saveService =
    saves && (await SaveService.open(context, { saves, records: new SaveFiles(stateDir, log.warning) }));
  return {
    ...(blocks && { blocks, guests: new GuestService(context, GUEST_AGENT) }),
    ...(saveService && { saves: saveService }),
    ...(savedImages && { saveImages: new SaveImageService(context, savedImages) }),
  };
}
