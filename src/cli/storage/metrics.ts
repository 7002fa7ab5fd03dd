/** `xlsnap metrics`: numbers about snapshots for a monitoring system. */

import { readChain } from '../../disks/chain/chains.ts';
import { isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { allFlags, JOB_STATS } from '../../model/flags.ts';
import { JOB_OPERATIONS } from '../../model/phases.ts';
import type { JobStats, RpcClient } from '../../rpc/client/client.ts';
import { writeFileAtomically } from '../../store/atomic-file.ts';
import { command } from '../command-line/command.ts';
import { foldersOf, MEMORY_DIR } from './daemon-folders.ts';
import { type DomainFacts, domainFacts, ownBytes, sumOf } from './domain-facts.ts';
import { type Gauge, openMetrics, type Sample } from './open-metrics.ts';

/** Those that libvirt tells apart: it counts a redefine as a create. */
const OPERATIONS = ['create', 'revert', 'delete'] as const;

/** node_exporter runs as a user of its own. */
const READABLE_BY_ALL = 0o644;

/** Numbers of one domain. */
interface DomainNumbers {
  readonly facts: DomainFacts;
  /** Length of the backing chain of each disk whose images can be read: 1 for an image without a base. */
  readonly chains: ReadonlyMap<string, number>;
  readonly lastJob: JobStats;
}

/** `xlsnap metrics`. */
export const METRICS = command({
  description:
    "Prints for every domain, or for those that are named, the number, the age and the size of its snapshots, the length of its disks' " +
    'backing chains, and how long its last create, revert or delete took and the guest was stopped for it. The format is ' +
    "OpenMetrics; with --file it is written for node_exporter's textfile collector, whole at any time.",
  options: [
    { name: 'domain', type: 'argv', help: 'domain name, id or uuid (default: all)', completes: 'domain' },
    { name: 'file', type: 'string', named: true, help: 'write to this file (*.prom) instead of printing' },
    MEMORY_DIR,
  ],
  async run(values, session) {
    const client = await session.client();
    const { memoryDir } = await foldersOf(values, session);
    const domains =
      values.domain.length === 0
        ? await client.listAllDomains()
        : await Promise.all(values.domain.map((given) => session.domain(given)));
    const found: DomainNumbers[] = [];
    for (const domain of domains) found.push(...(await numbersOf(client, domain, memoryDir)));
    const text = openMetrics(gauges(found));
    if (values.file === undefined) session.lines([text.trimEnd()]);
    else await writeFileAtomically(values.file, text, READABLE_BY_ALL);
  },
});

/** Returns nothing for a domain that has gone by now. */
async function numbersOf(client: RpcClient, domain: DomainRef, memoryDir: string): Promise<readonly DomainNumbers[]> {
  try {
    const facts = await domainFacts(client, domain, memoryDir);
    const chains = await Promise.all(
      [...facts.images].map(async ([target, image]) => [target, await readChain(image)] as const),
    );
    const whole = chains.flatMap(([target, { layers, broken }]) => (broken ? [] : [[target, layers.length] as const]));
    return [{ facts, chains: new Map(whole), lastJob: await client.getJobStats(domain, allFlags(JOB_STATS)) }];
  } catch (error) {
    if (isLibvirtError(error, 'NO_DOMAIN')) return [];
    // A snapshot was deleted between the list and its document.
    if (isLibvirtError(error, 'NO_DOMAIN_SNAPSHOT')) return await numbersOf(client, domain, memoryDir);
    throw error;
  }
}

function gauges(domains: readonly DomainNumbers[]): readonly Gauge[] {
  return [
    {
      name: 'xlsnap_snapshots',
      help: 'Snapshots of the domain.',
      samples: each(domains, ({ facts }) => facts.snapshots.length),
    },
    {
      name: 'xlsnap_oldest_snapshot_timestamp_seconds',
      unit: 'seconds',
      help: 'Creation time of the oldest snapshot, since the epoch.',
      samples: each(domains, ({ facts }) => createdAt(facts).at(0)),
    },
    {
      name: 'xlsnap_newest_snapshot_timestamp_seconds',
      unit: 'seconds',
      help: 'Creation time of the newest snapshot, since the epoch.',
      samples: each(domains, ({ facts }) => createdAt(facts).at(-1)),
    },
    {
      name: 'xlsnap_snapshots_bytes',
      unit: 'bytes',
      help: 'Allocated bytes of the memory images and overlays of all snapshots.',
      samples: each(domains, ({ facts }) => sumOf(facts.snapshots.map(ownBytes))),
    },
    {
      name: 'xlsnap_backing_chain_images',
      help: 'Images in the backing chain of the disk, its active image included.',
      samples: domains.flatMap(({ facts, chains }) =>
        [...chains].map(([disk, value]) => ({ labels: { domain: facts.domain.name, disk }, value })),
      ),
    },
    {
      name: 'xlsnap_last_job_seconds',
      unit: 'seconds',
      help: 'How long the last successful job took, since xlsnapd has started.',
      samples: ofLastJobs(domains, 'time_elapsed'),
    },
    {
      name: 'xlsnap_last_job_stopped_seconds',
      unit: 'seconds',
      help: 'How long the guest was stopped for that job.',
      samples: ofLastJobs(domains, 'downtime'),
    },
  ];
}

/** A sample for each domain that has the number. */
function each(
  domains: readonly DomainNumbers[],
  numberOf: (domain: DomainNumbers) => number | undefined,
): readonly Sample[] {
  return domains.flatMap((domain) => {
    const value = numberOf(domain);
    return value === undefined ? [] : [{ labels: { domain: domain.facts.domain.name }, value }];
  });
}

function createdAt({ snapshots }: DomainFacts): readonly number[] {
  return snapshots.map(({ creationTime }) => Number(creationTime)).sort((a, b) => a - b);
}

/** A time of the last job, which the daemon has in milliseconds. */
function ofLastJobs(domains: readonly DomainNumbers[], time: 'time_elapsed' | 'downtime'): readonly Sample[] {
  return domains.flatMap(({ facts, lastJob }) => {
    const parameterOf = (name: string) => lastJob.params.find(({ field }) => field === name)?.value;
    const number = parameterOf('operation');
    const operation = OPERATIONS.find((name) => JOB_OPERATIONS[name] === number);
    const ms = parameterOf(time);
    if (operation === undefined || ms === undefined) return [];
    return [{ labels: { domain: facts.domain.name, operation }, value: Number(ms) / 1000 }];
  });
}
