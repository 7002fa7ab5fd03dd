/** The command that finishes an operation that was interrupted: what the client asked for, in virsh's words. */

import type { DomainRef } from '../domain.ts';
import { DELETE, REVERT } from '../flags.ts';
import type { Operation } from '../phases.ts';
import { domainCommand } from './shell-command.ts';

/** Options of the operations that can be repeated. */
const OPTIONS = {
  revert: [
    [REVERT.RUNNING, '--running'],
    [REVERT.PAUSED, '--paused'],
    [REVERT.FORCE, '--force'],
  ],
  delete: [
    [DELETE.CHILDREN, '--children'],
    [DELETE.CHILDREN_ONLY, '--children-only'],
    [DELETE.METADATA_ONLY, '--metadata'],
  ],
} as const satisfies Partial<Record<Operation, readonly (readonly [flag: number, option: string])[]>>;

/** Returns the command, quoted for a shell. `flags`: those of the call that was interrupted. */
export function virshCommand(
  operation: keyof typeof OPTIONS,
  { domain, snapshot, flags }: { readonly domain: DomainRef; readonly snapshot: string; readonly flags: number },
): string {
  const options = OPTIONS[operation].filter(([flag]) => flags & flag).map(([, option]) => option);
  return domainCommand({ program: 'virsh', command: `snapshot-${operation}`, domain, args: [snapshot], options });
}
