/**
 * `xlsnap doctor`: reports how the daemon works, what its recovery could not finish, and the way out of each problem.
 */

import type { RpcClient } from '../../rpc/client/client.ts';
import type { Folders } from '../../store/default-folders.ts';
import { FileJournal } from '../../store/records/journal.ts';
import { command, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { foldersOf, foldersWithoutDaemon, MEMORY_DIR, SNAPSHOT_DIR, STATE_DIR } from '../storage/daemon-folders.ts';
import { findingText } from '../storage/finding.ts';
import { daemonFindings, daemonLine } from './daemon-rules.ts';
import { examine } from './examine.ts';
import { type DoctorFinding, journalFindings } from './file-rules.ts';
import { accessLine, hostFindings } from './host/host.ts';
import { type Mended, mend } from './mend.ts';

/** `xlsnap doctor`. */
export const DOCTOR = command({
  description:
    'Says how the daemon takes snapshots of running domains, and why that way. Lists, each with the way out: operations ' +
    'that were interrupted and not recovered; files and folders of the daemon that belong to nothing, memory images with ' +
    'their size, also those whose disks hold other contents now; snapshots inside images and on volumes of LVM and ZFS, ' +
    'and overlays, that no metadata names; overlays that a domain writes to and no snapshot names, with the command that ' +
    'merges each, which is virsh blockcommit for a running domain; block jobs, with the commands that end them; and what a revert of several disks that was cut off ' +
    'has left in images and on volumes. Fails if it finds a problem; notes are none. --fix removes what is certainly left over: unfinished ' +
    'files and empty folders. With --orphans it also deletes snapshots whose metadata is gone: those whose memory exists, ' +
    'and those on volumes of LVM and ZFS. With --host it asks instead what would keep a snapshot from working before anybody tries: ' +
    'versions, who may use the host, and for each guest the kinds of snapshots that would be refused, and why. Removes nothing of a domain while an operation runs on it. Locks end with their ' +
    'process: none can be left.',
  options: [
    { name: 'fix', type: 'bool', help: 'remove what is certainly left over' },
    { name: 'orphans', type: 'bool', help: 'with --fix: delete snapshots without metadata, too' },
    { name: 'host', type: 'bool', help: 'check whether snapshots of the guests can be taken' },
    JSON_OPTION,
    MEMORY_DIR,
    SNAPSHOT_DIR,
    STATE_DIR,
  ],
  async run(values, session) {
    exclusive(values, 'host', 'fix');
    if (values.orphans && !values.fix) throw failure('--orphans goes with --fix');
    const client = await connected(session, values);
    const folders = await foldersOf(values, session);
    const journal = journalIn(folders, session);
    const status = await client.daemonStatus();
    if (status && !values.json) session.extra(daemonLine(status));
    const driver = await client.getType();
    const access = values.host ? await accessLine(driver) : undefined;
    if (access !== undefined && !values.json) session.extra(`${access}\n`);
    const findings = [
      ...daemonFindings(status, driver),
      ...(values.host ? await hostFindings(client, driver) : await examine(client, status, folders, journal)),
    ];
    const reported: (DoctorFinding & Mended)[] = [];
    for (const finding of findings) {
      const mended = values.fix ? await mend(client, journal, folders, finding, values) : {};
      reported.push({ ...finding, ...mended });
      if (mended.refused !== undefined) session.error(mended.refused);
      if (values.json) continue;
      if (mended.done === undefined) session.print(findingText(finding));
      else session.extra(`${mended.done}\n`);
    }
    if (values.json) session.json(reported.map(({ removal, orphan, ...finding }) => finding));
    const problems = reported.filter(({ level, done }) => level === 'problem' && done === undefined).length;
    if (problems > 0) throw failure(problems === 1 ? '1 problem found' : `${problems} problems found`);
    if (!values.json) session.extra('No problems found\n');
  },
});

function journalIn({ stateDir }: Folders, session: Session): FileJournal {
  return new FileJournal(stateDir, (text) => session.error(text));
}

/** Connects to the daemon, without which files in use are not known. If it does not answer, prints the journal. */
async function connected(session: Session, values: Parameters<typeof foldersOf>[0]): Promise<RpcClient> {
  try {
    return await session.client();
  } catch (error) {
    const journal = journalIn(foldersWithoutDaemon(values, session), session);
    const records = await journal.records().catch(() => []);
    for (const { problem } of journalFindings({ records, working: new Set() })) {
      session.print(findingText({ problem, wayOut: 'start xlsnapd, which recovers what it can' }));
    }
    throw error;
  }
}
