/** `snapshot-revert`. */

import { revertTo } from '../../client/revert.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { PROGRESS_JSON, runJob } from '../job/job.ts';
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
    PROGRESS_JSON,
  ],
  async run({ domain: given, snapshotname, current, running, paused, force, ...rest }, session) {
    const domain = await session.domain(given);
    const snapshot = await lookupSnapshot(session, domain, { name: snapshotname, current });
    const { snapshots } = await session.client();
    const request = { running, paused, force, resetNvram: rest['reset-nvram'] };
    await session.orSay(`Failed to revert snapshot ${snapshot.name}`, () =>
      runJob(session, domain, () => revertTo(snapshots, snapshot, request), rest),
    );
    session.done(rest.json, snapshot, `Domain snapshot ${snapshot.name} reverted\n`);
  },
});
