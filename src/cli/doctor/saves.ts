/** Saves of domains on overlays that have not ended: until then the memory is in a file beside its place, which nobody restores. */

import { partialOf } from '../../model/phases.ts';
import type { SaveFiles } from '../../store/records/save-files.ts';
import type { DoctorFinding } from './file-rules.ts';

/** A record of a save, readable or not. */
export type SaveRecord = Awaited<ReturnType<SaveFiles['records']>>[number];

/** `working`: UUIDs of the domains on which their owner has a job. */
export function saveFindings(records: readonly SaveRecord[], working: ReadonlySet<string>): readonly DoctorFinding[] {
  return records.map((record): DoctorFinding => {
    if ('error' in record) {
      const wayOut = 'see the message; until then the domain is not saved';
      return { level: 'problem', problem: record.error.detail, wayOut };
    }
    const { domain, path } = record;
    const what = `save of domain '${domain.name}' to '${path}'`;
    if (working.has(domain.uuid)) return { level: 'note', problem: `${what} is under way`, wayOut: 'none needed' };
    return {
      level: 'problem',
      problem: `${what} was interrupted: what there is of it is in '${partialOf(path)}'`,
      wayOut: 'systemctl restart xlsnapd: it completes the save or removes what is left, and its log says which',
    };
  });
}
