/** `--check` of a create: what it would do, and what it would take. */

import { jobStats } from '../../client/job-stats.ts';
import type { DomainRef } from '../../model/domain.ts';
import { allFlags, CREATE, JOB_STATS } from '../../model/flags.ts';
import { memoryImageBytes } from '../../model/memory-size.ts';
import { printable } from '../../model/messages/printable.ts';
import { memoryPathOf, type SnapshotDef } from '../../model/snapshot.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import { MemoryFiles } from '../../store/memory-folder.ts';
import { domainMemoryKib } from '../../xml/domain/domain.ts';
import { readSnapshot } from '../../xml/snapshot/read.ts';
import type { Session } from '../session.ts';
import { foldersOf } from '../storage/daemon-folders.ts';
import { columns, hasColour } from '../terminal/columns.ts';
import { formatBytes } from '../terminal/quantities.ts';

/**
 * For how long the guest would be stopped. `memory`: while its memory is written; `last-pass`: while the last of it is written;
 * `disks`: while its disks change over; `none`: it is off.
 */
type Pause = 'memory' | 'last-pass' | 'disks' | 'none';

const PAUSES: Readonly<Record<Pause, string>> = {
  memory: 'the guest is stopped while its memory is written',
  'last-pass': 'the guest runs while its memory is written, and is stopped for the last of it',
  disks: 'the guest is stopped while its disks change over',
  none: 'the guest is off',
};

/** A part that would be captured. */
interface Part {
  readonly name: string;
  readonly snapshot: string;
  /** The file that it would go to. */
  readonly file?: string;
  /** How large that may become at once. */
  readonly maxBytes?: number;
}

interface Checked {
  readonly domain: string;
  readonly snapshot: string;
  readonly parts: readonly Part[];
  readonly pause: Pause;
  /** Milliseconds, of the domain's last job, if that was a create. */
  readonly lastPause?: number;
}

/** Prints what a create would do; rejects as it would. */
export async function checkCreate(
  session: Session,
  { domain, xml, flags, json }: { domain: DomainRef; xml: string; flags: number; json: boolean },
): Promise<void> {
  const client = await session.client();
  const { snapshot } = readSnapshot(await client.checkCreate(domain, xml, flags), { internal: false });
  const { memoryDir } = await foldersOf({}, session);
  const last = await lastPause(client, domain);
  const checked: Checked = {
    domain: domain.name,
    snapshot: snapshot.name,
    parts: [...memoryPart(snapshot, new MemoryFiles(memoryDir).path(domain, snapshot.name)), ...diskParts(snapshot)],
    pause: pauseOf(snapshot, flags),
    ...(last !== undefined && { lastPause: last }),
  };
  if (json) session.json(checked);
  else session.draw(text(checked, session.quiet));
}

function memoryPart(snapshot: SnapshotDef, internal: string): readonly Part[] {
  const file = memoryPathOf(snapshot, internal);
  if (file === undefined || !snapshot.domain) return [];
  const maxBytes = memoryImageBytes(domainMemoryKib(snapshot.domain.element));
  return [{ name: 'memory', snapshot: snapshot.memory.location, file, maxBytes }];
}

function diskParts({ disks, domain }: SnapshotDef): readonly Part[] {
  return disks.flatMap(({ name, location = 'no', target }) => {
    const file = location === 'external' ? target?.path : domain?.images.get(name)?.path;
    return location === 'no' ? [] : [{ name, snapshot: location, ...(file !== undefined && { file }) }];
  });
}

function pauseOf({ state, memory }: SnapshotDef, flags: number): Pause {
  if (state === 'shutoff') return 'none';
  if (memory.location === 'no') return 'disks';
  return flags & CREATE.LIVE ? 'last-pass' : 'memory';
}

async function lastPause(client: RpcClient, domain: DomainRef): Promise<number | undefined> {
  const completed = await client.getJobStats(domain, allFlags(JOB_STATS)).catch(() => undefined);
  const { operation, downtime } = completed ? jobStats(completed) : {};
  return operation === 'snapshot' ? downtime : undefined;
}

function text({ domain, snapshot, parts, pause, lastPause: last }: Checked, quiet: boolean): string {
  const heading = [
    { title: 'Part' },
    { title: 'Snapshot' },
    { title: 'File' },
    { title: 'At most', right: true },
  ] as const;
  const rows = parts.map(({ name, snapshot: kind, file = '-', maxBytes }) =>
    [name, kind, file, maxBytes === undefined ? '-' : formatBytes(maxBytes)].map((cell) => ({ text: cell })),
  );
  const before = last === undefined ? '' : `; ${last} ms the last time`;
  return (
    `Snapshot ${printable(snapshot)} of domain ${printable(domain)} can be taken\n\n` +
    `${columns(heading, rows, { quiet, colour: hasColour() })}\nPause: ${PAUSES[pause]}${before}\n`
  );
}
