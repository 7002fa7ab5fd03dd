/** `snapshot-info` and `snapshot-parent`. */

import { LIST } from '../../model/flags.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { protectedNames } from '../protect/protected-names.ts';
import { orNone } from '../session.ts';
import { readDocument } from './snapshot-document.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';

const yesNo = (value: boolean): string => (value ? 'yes' : 'no');

/** `xlsnap snapshot-info`, as in virsh. */
export const SNAPSHOT_INFO = command({
  description: 'Returns basic information about a snapshot.',
  options: [
    DOMAIN,
    { name: 'snapshotname', type: 'string', help: 'snapshot name', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'info on current snapshot' },
    JSON_OPTION,
  ],
  async run({ domain: given, snapshotname, current, json }, session) {
    const domain = await session.domain(given);
    const snapshot = await lookupSnapshot(session, domain, { name: snapshotname, current });
    const { snapshots } = await session.client();
    const isCurrent = await snapshots.isCurrent(snapshot, 0);
    const { state, location, parent } = readDocument(await snapshots.getXMLDesc(snapshot, 0));
    const children = await snapshots.numChildren(snapshot, 0);
    const descendants = await snapshots.numChildren(snapshot, LIST.DESCENDANTS);
    const metadata = await snapshots.hasMetadata(snapshot, 0);
    const isProtected = (await protectedNames(session, domain)).has(snapshot.name);
    if (json) {
      const names = { name: snapshot.name, domain: domain.name };
      session.json({
        ...names,
        current: isCurrent,
        state,
        location,
        parent,
        children,
        descendants,
        metadata,
        protected: isProtected,
      });
      return;
    }
    const rows = {
      Name: snapshot.name,
      Domain: domain.name,
      Current: yesNo(isCurrent),
      State: state,
      Location: location,
      Parent: parent ?? '-',
      Children: String(children),
      Descendants: String(descendants),
      Metadata: yesNo(metadata),
      // virsh does not have this line.
      ...(isProtected && { Protected: yesNo(isProtected) }),
    };
    for (const [title, value] of Object.entries(rows)) session.print(`${`${title}:`.padEnd(15)} ${value}\n`);
  },
});

/** `xlsnap snapshot-parent`, as in virsh. */
export const SNAPSHOT_PARENT = command({
  description: "Extract the snapshot's parent, if any",
  options: [
    DOMAIN,
    { name: 'snapshotname', type: 'string', help: 'find parent of snapshot name', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'find parent of current snapshot' },
    JSON_OPTION,
  ],
  async run({ domain: given, snapshotname, current, json }, session) {
    const domain = await session.domain(given);
    const snapshot = await lookupSnapshot(session, domain, { name: snapshotname, current });
    const { snapshots } = await session.client();
    const parent = await snapshots.getParent(snapshot, 0).catch(orNone('NO_DOMAIN_SNAPSHOT'));
    if (!parent) throw failure(`snapshot '${snapshot.name}' has no parent`);
    if (json) session.json({ name: parent.name });
    else session.print(parent.name);
  },
});
