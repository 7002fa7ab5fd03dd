/** `snapshot-revert`. */

import { isLibvirtError } from '../../errors.ts';
import { REVERT } from '../../model/flags.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { runJob } from './job.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';

/** `xlsnap snapshot-revert`, as in virsh. */
export const SNAPSHOT_REVERT = command({
  description: 'Revert domain to snapshot',
  options: [
    DOMAIN,
    { name: 'snapshotname', short: 'n', type: 'string', help: 'snapshot name', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'revert to current snapshot' },
    { name: 'running', type: 'bool', help: 'after reverting, change state to running' },
    { name: 'paused', short: 'p', type: 'bool', help: 'after reverting, change state to paused' },
    { name: 'force', type: 'bool', help: 'try harder on risky reverts' },
    { name: 'reset-nvram', type: 'bool', help: 're-initialize NVRAM from its pristine template' },
    JSON_OPTION,
  ],
  async run({ domain: given, snapshotname, current, running, paused, force, ...rest }, session) {
    const domain = await session.domain(given);
    const snapshot = await lookupSnapshot(session, domain, { name: snapshotname, current });
    const { snapshots } = await session.client();
    const flags =
      (running ? REVERT.RUNNING : 0) | (paused ? REVERT.PAUSED : 0) | (rest['reset-nvram'] ? REVERT.RESET_NVRAM : 0);
    const revert = async (): Promise<void> => {
      try {
        await snapshots.revert(snapshot, flags);
      } catch (error) {
        // Sends the flag only after a refusal: servers that never refuse may not know it.
        if (!force || !isLibvirtError(error, 'SNAPSHOT_REVERT_RISKY')) throw error;
        await snapshots.revert(snapshot, flags | REVERT.FORCE);
      }
    };
    await session.orSay(`Failed to revert snapshot ${snapshot.name}`, () => runJob(session, domain, revert));
    session.done(rest.json, snapshot, `Domain snapshot ${snapshot.name} reverted\n`);
  },
});
