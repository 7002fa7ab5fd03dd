/** What a job's statistics look like on a terminal: a bar with bytes, percent and rate, and a line when it has ended. */

import type { JobStats } from '../../rpc/client/client.ts';
import { formatBytes } from '../terminal/quantities.ts';

/** How far the memory was at one moment. */
export interface Sample {
  /** Bytes. */
  readonly done: number;
  readonly total: number;
  /** Milliseconds, of a clock that only goes forward. */
  readonly at: number;
}

const BAR_MAX = 40;
/** Where the terminal does not say how wide it is. */
const COLUMNS = 80;

/** Nothing where no memory is written (yet). */
export function sampleOf(stats: JobStats, at: number): Sample | undefined {
  const total = parameter(stats, 'memory_total');
  const done = parameter(stats, 'memory_processed');
  return total === undefined || done === undefined || total === 0 ? undefined : { done, total, at };
}

function parameter({ params }: JobStats, name: string): number | undefined {
  const value = params.find(({ field }) => field === name)?.value;
  return value === undefined ? undefined : Number(value);
}

/** `Writing memory [=====>    ]  45% 120.00 MiB of 256.00 MiB, 80.10 MiB/s`, in less than a terminal's line. */
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

/**
 * `Memory: 256.00 MiB in 3.2 s, 80.10 MiB/s; the guest was paused for 41 ms`, of a job that is done. The pause only where
 * the daemon tells it; nothing where no memory was written.
 */
export function summaryLine(completed: JobStats): string | undefined {
  const done = parameter(completed, 'memory_processed');
  const time = parameter(completed, 'time_elapsed');
  const pause = parameter(completed, 'downtime');
  if (done === undefined || time === undefined) return undefined;
  const written = `Memory: ${formatBytes(done)} in ${seconds(time)}${rate(done, time)}`;
  return pause === undefined ? written : `${written}; the guest was paused for ${seconds(pause)}`;
}

/** `, 80.10 MiB/s`, where there is one. */
function rate(bytes: number, ms: number): string {
  return ms > 0 && bytes > 0 ? `, ${formatBytes((bytes * 1000) / ms)}/s` : '';
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
