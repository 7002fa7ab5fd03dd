/** Calls of xlsnapd's own program (wire/daemon-program.ts), the same with an upstream libvirtd and without one. */

import type { DaemonStatus } from '../../model/daemon-status.ts';
import type { SnapshotApi } from '../../snapshots/api.ts';
import {
  DAEMON_STATUS,
  DOMAIN_LIST_PROTECTED,
  DOMAIN_LIST_SNAPSHOT_ROWS,
  SNAPSHOT_CHECK_CREATE,
  SNAPSHOT_SET_PROTECTED,
} from '../wire/daemon-program.ts';
import { type Answers, answer } from './answers.ts';

/** Answers with the daemon's status, and about the protection, the lists and the checks of snapshots. */
export function daemonAnswers(status: DaemonStatus, snapshots: SnapshotApi): Answers {
  return new Map([
    answer(DAEMON_STATUS, () => status),
    answer(SNAPSHOT_SET_PROTECTED, ({ snapshot, on }) => snapshots.setProtected(snapshot, on)),
    answer(SNAPSHOT_CHECK_CREATE, async ({ domain, xml, flags }) => ({
      value: await snapshots.checkCreate(domain, xml, flags),
    })),
    answer(DOMAIN_LIST_SNAPSHOT_ROWS, async ({ domain }) => ({ rows: await snapshots.listRows(domain) })),
    answer(DOMAIN_LIST_PROTECTED, async ({ domain }) => ({ names: await snapshots.listProtected(domain) })),
  ]);
}
