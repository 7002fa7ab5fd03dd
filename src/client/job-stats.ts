/** A domain's job and a disk's, as libvirt reports them, as data. */

import { blockJobKind } from '../model/blocks/block-job.ts';
import type { JobStats as ReceivedStats } from '../rpc/client/client.ts';
import type { BlockJobType, JobOperation, JobStats } from './api.ts';

/** virDomainJobType, virDomainJobOperation: by their numbers. */
const TYPES = ['none', 'bounded', 'unbounded', 'completed', 'failed', 'cancelled'] as const;
const OPERATIONS: readonly JobOperation[] = [
  'unknown',
  'start',
  'save',
  'restore',
  'migration-in',
  'migration-out',
  'snapshot',
  'snapshot-revert',
  'dump',
  'backup',
  'snapshot-delete',
];
/** VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP: only a libvirtd has it. */
const BACKUP = 5;

/** Our names of VIR_DOMAIN_JOB_* parameters. */
const FIELDS = {
  timeElapsed: 'time_elapsed',
  memoryTotal: 'memory_total',
  memoryProcessed: 'memory_processed',
  memoryRemaining: 'memory_remaining',
  downtime: 'downtime',
} as const;

/** Ours: libvirt's own parameters end otherwise, or are of migrations, which have no snapshots. */
const PHASE_TIME = /^([a-z_]+)_time$/;

/** Translates the parameters of a reply. */
export function jobStats({ type, params }: ReceivedStats): JobStats {
  const values = new Map(params.map(({ field, value }) => [field, Number(value)]));
  const numbers = Object.entries(FIELDS).flatMap(([name, field]) => {
    const value = values.get(field);
    return value === undefined ? [] : [[name, value] as const];
  });
  const operation = values.get('operation');
  const phases = Object.fromEntries(
    [...values].flatMap(([field, ms]) => {
      const [, phase] = PHASE_TIME.exec(field) ?? [];
      return phase === undefined ? [] : [[phase.replaceAll('_', '-'), ms]];
    }),
  );
  return {
    type: TYPES[type] ?? 'none',
    ...(operation !== undefined && { operation: OPERATIONS[operation] ?? 'unknown' }),
    ...Object.fromEntries(numbers),
    ...(Object.keys(phases).length > 0 && { phases }),
  };
}

export const blockJobType = (type: number): BlockJobType =>
  blockJobKind(type) ?? (type === BACKUP ? 'backup' : 'unknown');
