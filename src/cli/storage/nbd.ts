/** `xlsnap nbd`: a disk as it was, for programs that speak NBD, while the guest runs. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { backendOf } from '../../disks/backends.ts';
import { type CapturedContents, serveContents } from '../../disks/qemu/nbd-export.ts';
import { isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { printable } from '../../model/messages/printable.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { foldersOf, MEMORY_DIR } from './daemon-folders.ts';
import { domainFacts } from './domain-facts.ts';

/** How often the daemon is asked whether the snapshot is still there. */
const WATCH_MS = 2_000;

/** `xlsnap nbd`. */
export const NBD = command({
  description:
    'Serves a disk as it was in a snapshot on a socket, read-only, while the guest runs on, and prints the URI of it, for ' +
    'guestfish, nbdcopy or qemu-img. Ends with Ctrl-C, or with an error when the snapshot is deleted.',
  options: [
    DOMAIN,
    { name: 'snapshotname', type: 'data', help: 'snapshot name', completes: 'snapshot' },
    { name: 'disk', type: 'data', help: 'target of the disk, as xvda' },
    JSON_OPTION,
    MEMORY_DIR,
  ],
  async run(values, session) {
    const client = await session.client();
    const domain = await session.domain(values.domain);
    const { name } = await client.snapshots.lookupByName(domain, values.snapshotname, 0);
    const { memoryDir } = await foldersOf(values, session);
    const { snapshots } = await domainFacts(client, domain, memoryDir);
    const disks = snapshots.find((snapshot) => snapshot.name === name)?.disks ?? [];
    const disk = disks.find(({ target }) => target === values.disk);
    if (!disk) {
      const known = disks.map(({ target }) => `'${target}'`).join(', ') || 'none';
      throw failure(`snapshot '${name}' of domain '${domain.name}' has no disk '${values.disk}': it has ${known}`);
    }
    const contents = await (await backendOf(disk.part)).captured?.(name, disk.part);
    if (!contents) {
      throw failure(
        `disk '${values.disk}' is a volume, whose snapshot '${name}' is a volume that can be read without NBD`,
      );
    }
    const folder = await mkdtemp(join(tmpdir(), 'xlsnap-nbd-'));
    try {
      await serve(session, { domain, name, contents, socket: join(folder, 'socket'), json: values.json });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
});

interface Serving {
  readonly domain: DomainRef;
  readonly name: string;
  readonly contents: CapturedContents;
  readonly socket: string;
  readonly json: boolean;
}

/** Resolves at Ctrl-C. Rejects if the server ends by itself, or the snapshot is deleted. */
async function serve(session: Session, { domain, name, contents, socket, json }: Serving): Promise<void> {
  const ending = new AbortController();
  const end = (signal: NodeJS.Signals): void => {
    session.interrupted = signal === 'SIGINT';
    ending.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  try {
    await using server = await serveContents(contents, socket);
    const uri = `nbd+unix:///?socket=${socket}`;
    if (json) session.json({ uri });
    else session.print(`${printable(uri)}\n`);
    const asked = sleep(2 ** 31 - 1, undefined, { signal: ending.signal }).catch(() => undefined);
    const deleted = untilDeleted(session, domain, name, ending.signal);
    const ended = server.ended.then((words) => failure(`qemu-nbd has ended: ${words}`));
    const why = await Promise.race([asked, deleted, ended]);
    if (why) throw why;
  } finally {
    ending.abort();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end);
  }
}

/** Resolves with the error when the snapshot is not there any more, or without one if the wait is ended. */
async function untilDeleted(
  session: Session,
  domain: DomainRef,
  name: string,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const { snapshots } = await session.client();
  while (!signal.aborted) {
    await sleep(WATCH_MS, undefined, { signal }).catch(() => undefined);
    const error = await snapshots.lookupByName(domain, name, 0).then(
      () => undefined,
      (reason) => reason,
    );
    // A daemon that does not answer now has not deleted it.
    if (isLibvirtError(error, 'NO_DOMAIN_SNAPSHOT') || isLibvirtError(error, 'NO_DOMAIN')) {
      return failure(
        `snapshot '${name}' of domain '${domain.name}' was deleted: what was read last may be something else`,
      );
    }
  }
  return undefined;
}
