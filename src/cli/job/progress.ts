/** Formats a job's statistics for a terminal: a bar with bytes, percent and rate, and a line at the end. */

import type { JobStats } from '../../client/api.ts';
import { formatBytes } from '../terminal/quantities.ts';

/** The progress of the memory at one moment. */
export interface Sample {
  /** Bytes. */
  readonly done: number;
  readonly total: number;
  /** Milliseconds of a monotonic clock. */
  readonly at: number;
}

const BAR_MAX = 40;
/** Used if the terminal does not report its width. */
const COLUMNS = 80;

/** Returns undefined while no memory is written. */
export function sampleOf(stats: JobStats, at: number): Sample | undefined {
  const { memoryTotal: total, memoryProcessed: done } = stats;
  return done === undefined || !total ? undefined : { done, total, at };
}

/** `Writing memory [=====>    ]  45% 120.00 MiB of 256.00 MiB, 80.10 MiB/s`, shorter than a terminal's line. */
export function progressLine(first: Sample, last: Sample, columns: number | undefined): string {
  const part = Math.min(1, last.done / last.total);
  const percent = `${Math.floor(part * 100)}%`.padStart(4);
  const speed = rate(last.done - first.done, last.at - first.at);
  const numbers = `${percent} ${formatBytes(last.done)} of ${formatBytes(last.total)}${speed}`;
  const room = Math.min(BAR_MAX, (columns || COLUMNS) - numbers.length - 'Writing memory [] '.length - 1);
  if (room < 1) return numbers.slice(0, Math.max(0, (columns || COLUMNS) - 1));
  const filled = Math.round(part * room);
  const bar = (filled === 0 ? '' : `${'='.repeat(filled - 1)}${filled === room ? '=' : '>'}`).padEnd(room);
  return `Writing memory [${bar}]${numbers}`;
}

/** The phases of a revert that take time, in their order. */
const REVERT_PHASES = ['overlays', 'destroy', 'disks', 'restore', 'boot'] as const;

/** Returns the line for a completed job; undefined if there is nothing to say about it. */
export function summaryLine(completed: JobStats): string | undefined {
  return completed.operation === 'snapshot-revert' ? revertLine(completed) : memoryLine(completed);
}

/** `Reverted in 1.3 s: destroy 40 ms, disks 60 ms, restore 1.1 s; the guest was stopped for 1.2 s`. */
function revertLine({ timeElapsed: time, downtime: stop, phases = {} }: JobStats): string | undefined {
  const spentOn = REVERT_PHASES.flatMap((phase) => {
    const ms = phases[phase];
    return ms === undefined ? [] : [`${phase} ${seconds(ms)}`];
  });
  if (time === undefined || spentOn.length === 0) return undefined;
  const spent = `Reverted in ${seconds(time)}: ${spentOn.join(', ')}`;
  return stop === undefined ? spent : `${spent}; the guest was stopped for ${seconds(stop)}`;
}

/**
 * `Memory: 256.00 MiB in 3.2 s, 80.10 MiB/s; the guest was paused for 41 ms`, for a create. Includes the
 * pause if the daemon reports it. Returns undefined if no memory was written.
 */
function memoryLine({ memoryProcessed: done, timeElapsed: time, downtime: pause }: JobStats): string | undefined {
  if (done === undefined || time === undefined) return undefined;
  const written = `Memory: ${formatBytes(done)} in ${seconds(time)}${rate(done, time)}`;
  return pause === undefined ? written : `${written}; the guest was paused for ${seconds(pause)}`;
}

/** Returns `, 80.10 MiB/s`, or nothing if it is unknown. */
function rate(bytes: number, ms: number): string {
  return ms > 0 && bytes > 0 ? `, ${formatBytes((bytes * 1000) / ms)}/s` : '';
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
