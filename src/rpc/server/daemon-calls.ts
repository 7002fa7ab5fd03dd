/** Calls of xlsnapd's own program (wire/daemon-program.ts), the same with an upstream libvirtd and without one. */

import type { DaemonStatus } from '../../model/daemon-status.ts';
import { DAEMON_STATUS } from '../wire/daemon-program.ts';
import { type Answers, answer } from './answers.ts';

/** Answers with the daemon's status. */
export function daemonAnswers(status: DaemonStatus): Answers {
  return new Map([answer(DAEMON_STATUS, () => status)]);
}
