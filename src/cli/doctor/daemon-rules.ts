/** Reports how the daemon takes snapshots of running domains, and why that way. */

import type { DaemonStatus, MechanismName } from '../../model/daemon-status.ts';
import type { DoctorFinding } from './file-rules.ts';

const MECHANISMS: Readonly<Record<MechanismName, string>> = {
  libxl: 'by libxl',
  libvirt: 'through libvirt, by save and restore',
  embedded: 'by the embedded host',
};

/** One line for people. */
export function daemonLine({ version, mechanism, reason }: DaemonStatus): string {
  const how = MECHANISMS[mechanism] ?? mechanism;
  return `xlsnapd ${version} takes snapshots of running domains ${how}: ${reason}\n`;
}

/** On Xen the way through libvirt is second best; `driver` is the answer of virConnectGetType. */
export function daemonFindings(status: DaemonStatus | undefined, driver: string): readonly DoctorFinding[] {
  if (status?.mechanism !== 'libvirt' || driver !== 'Xen') return [];
  return [
    {
      level: 'note',
      problem: `a running domain is off while a snapshot of its memory or disks is taken: ${status.reason}`,
      wayOut: 'once libxl can be used, restart xlsnapd without --mechanism libvirt',
    },
  ];
}

/** True if the daemon itself carries out block commits. libvirt's xen driver has none. */
export function servesCommit(status: DaemonStatus | undefined): boolean {
  return status !== undefined && status.mechanism !== 'libvirt';
}
