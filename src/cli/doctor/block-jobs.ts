/** Block jobs of running domains: a disk with one has no snapshot taken, and an active one waits until somebody ends it. */

import { BLOCK_JOB_NAMES, BLOCK_JOB_TYPES, blockJobKind } from '../../model/blocks/block-job.ts';
import { type DomainRef, isActive } from '../../model/domain.ts';
import { domainCommand, shellCommand } from '../../model/messages/shell-command.ts';
import type { BlockJobInfo } from '../../rpc/client/blocks.ts';
import type { RpcClient } from '../../rpc/client/client.ts';
import type { BlockJobFiles } from '../../store/records/block-job-files.ts';
import type { DomainFacts } from '../storage/domain-facts.ts';
import type { DoctorFinding } from './file-rules.ts';

/** Those that stay until they are ended. */
const MIRRORS: ReadonlySet<number> = new Set([BLOCK_JOB_TYPES['active-commit'], BLOCK_JOB_TYPES.copy]);

/** A block job that runs, or waits to be ended. */
export interface FoundBlockJob {
  readonly domain: DomainRef;
  readonly disk: string;
  readonly info: BlockJobInfo;
}

/** Asks the daemon. */
export async function foundBlockJobs(
  client: RpcClient,
  domains: readonly DomainFacts[],
): Promise<readonly FoundBlockJob[]> {
  const disks = domains
    .filter(({ domain }) => isActive({ ref: domain }))
    .flatMap(({ domain, images }) => [...images.keys()].map((disk) => ({ domain, disk })));
  const asked = disks.map(async ({ domain, disk }) => ({
    domain,
    disk,
    info: await client.blocks.jobInfoIfAny(domain, disk),
  }));
  return (await Promise.all(asked)).flatMap(({ info, ...of }) => (info ? [{ ...of, info }] : []));
}

/** A record of a domain's block jobs, readable or not. */
export type BlockJobRecord = Awaited<ReturnType<BlockJobFiles['load']>>[number];

/** Records of which xlsnapd could not say what became of the jobs: it changes no snapshot of such a domain. */
export function unsettledFindings(
  records: readonly BlockJobRecord[],
  domains: readonly DomainFacts[],
): readonly DoctorFinding[] {
  const running = new Set(domains.filter(({ domain }) => isActive({ ref: domain })).map(({ domain }) => domain.uuid));
  return records.flatMap((record): readonly DoctorFinding[] => {
    if ('error' in record) {
      const wayOut = 'see the message; until then xlsnapd changes no snapshot of the domain';
      return [{ level: 'problem', problem: record.error.detail, wayOut }];
    }
    if (running.has(record.domain.uuid)) return [];
    return record.jobs.map(({ disk }) => ({
      level: 'problem',
      problem: `domain '${record.domain.name}' has ended with a block job on disk '${disk}', which is not settled`,
      wayOut: `its log says what decides it: ${shellCommand('journalctl', '-u', 'xlsnapd', '-g', 'pivoted')}; then: systemctl restart xlsnapd`,
    }));
  });
}

/** Notes: a job is no damage. */
export function blockJobFindings(jobs: readonly FoundBlockJob[]): readonly DoctorFinding[] {
  return jobs.map(({ domain, disk, info: { type, cur, end } }) => {
    const kind = blockJobKind(type);
    const what = `disk '${disk}' of domain '${domain.name}' has a block job (${kind ? BLOCK_JOB_NAMES[kind] : type})`;
    const command = (option: string): string =>
      domainCommand({ program: 'virsh', command: 'blockjob', domain, args: [disk], options: [option] });
    if (cur < end || !MIRRORS.has(type)) {
      const percent = end > 0n ? (cur * 100n) / end : 0n;
      return {
        level: 'note',
        problem: `${what}, ${percent} % done: until it has ended no snapshot of the disk is taken`,
        wayOut: `none needed; to end it now: ${command('--abort')}`,
      };
    }
    return {
      level: 'note',
      problem: `${what} that has copied everything and waits to be ended: until then no snapshot of the disk is taken`,
      wayOut: `to use the other image from then on: ${command('--pivot')}; to stay on this one: ${command('--abort')}`,
    };
  });
}
