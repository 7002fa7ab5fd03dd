/** The daemon's log: one line per event on stderr, with journald's priority if stderr is the journal. */

import { printable } from '../model/messages/printable.ts';

/** The values of --log-level, the most urgent first. */
export const LOG_LEVELS = ['error', 'warning', 'info', 'debug'] as const;
/** One of LOG_LEVELS. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** syslog(3) priorities. */
const PRIORITY: Readonly<Record<LogLevel, number>> = { error: 3, warning: 4, info: 6, debug: 7 };

/** One function per level; each logs one line. */
export type Log = Readonly<Record<LogLevel, (text: string) => void>>;

/**
 * A log that drops everything less urgent than `level`. One event is one line: line ends and control characters in
 * `text` are escaped.
 */
export function openLog(level: LogLevel, write: (line: string) => void = (line) => process.stderr.write(line)): Log {
  const journald = process.env.JOURNAL_STREAM !== undefined;
  const logger = (of: LogLevel) => (text: string) => {
    if (PRIORITY[of] > PRIORITY[level]) return;
    const line = printable(text.trimEnd());
    const prefix = journald ? `<${PRIORITY[of]}>` : `${new Date().toISOString()} ${of}: `;
    write(`${prefix}${line}\n`);
  };
  return { error: logger('error'), warning: logger('warning'), info: logger('info'), debug: logger('debug') };
}
