/** `xlsnap protect` and `xlsnap unprotect`. */

import { printable } from '../../model/messages/printable.ts';
import { command, DOMAIN, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';

const OPTIONS = [
  DOMAIN,
  { name: 'snapshotname', type: 'argv', help: 'snapshot names', completes: 'snapshot' },
  JSON_OPTION,
] as const;

/** Asks for all snapshots before the first is changed. */
const protection = ({ on, name, description }: { on: boolean; name: string; description: string }) =>
  command({
    description,
    options: OPTIONS,
    async run({ domain: given, snapshotname: names, json }, session) {
      if (names.length === 0) throw failure(`command '${name}' requires <snapshotname> option`);
      const domain = await session.domain(given);
      const client = await session.client();
      const found = await Promise.all(names.map((each) => client.snapshots.lookupByName(domain, each, 0)));
      for (const snapshot of found) await client.setProtected(snapshot, on);
      const snapshots = found.map((snapshot) => snapshot.name);
      if (json) session.json({ domain: domain.name, snapshots, protected: on });
      else for (const each of snapshots) session.extra(`Domain snapshot ${printable(each)} ${name}ed\n`);
    },
  });

/** `xlsnap protect`. */
export const PROTECT = protection({
  on: true,
  name: 'protect',
  description:
    'Protects snapshots from being deleted: by any client, with a parent by --children, or by rotate; their domain cannot be ' +
    'undefined either. A revert to them, and snapshots on top of them, work as before.',
});

/** `xlsnap unprotect`. */
export const UNPROTECT = protection({
  on: false,
  name: 'unprotect',
  description: 'Ends the protection of snapshots: they can be deleted again.',
});
