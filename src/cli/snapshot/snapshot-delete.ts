/** `snapshot-delete`. */

import { deleteFlags } from '../../client/flags.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { PROGRESS_JSON, runJob } from '../job/job.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';

/** `xlsnap snapshot-delete`, as in virsh. */
export const SNAPSHOT_DELETE = command({
  description: 'Snapshot Delete',
  options: [
    DOMAIN,
    { name: 'snapshotname', short: 'n', type: 'string', help: 'snapshot name', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'delete current snapshot' },
    { name: 'children', type: 'bool', help: 'delete snapshot and all children' },
    { name: 'children-only', type: 'bool', help: 'delete children but not snapshot' },
    { name: 'metadata', type: 'bool', help: 'delete only libvirt metadata, leaving snapshot contents behind' },
    JSON_OPTION,
    PROGRESS_JSON,
  ],
  async run(
    { domain: given, snapshotname, current, children, 'children-only': childrenOnly, metadata, json, ...rest },
    session,
  ) {
    const domain = await session.domain(given);
    const snapshot = await lookupSnapshot(session, domain, { name: snapshotname, current });
    const { snapshots } = await session.client();
    const flags = deleteFlags({ children, childrenOnly, metadataOnly: metadata });
    await session.orSay(`Failed to delete snapshot ${snapshot.name}`, () =>
      runJob(session, domain, () => snapshots.delete(snapshot, flags), rest),
    );
    const what = childrenOnly ? 'children deleted' : 'deleted';
    session.done(json, snapshot, `Domain snapshot ${snapshot.name} ${what}\n`);
  },
});
