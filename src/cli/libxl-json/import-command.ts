import { DOMAIN_SNAPSHOT } from '../../libxl/structs.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { LibxlDomainSnapshot } from '../../model/libxl.ts';
import { domainCommand, shellCommand } from '../../model/messages/shell-command.ts';

/** Returns the command that defines this snapshot, without a file. */
export function importCommand(domain: DomainRef, snapshot: LibxlDomainSnapshot): string {
  const json = shellCommand('printf', '%s', JSON.stringify(DOMAIN_SNAPSHOT.write(snapshot)));
  return `${json} | ${domainCommand({ program: 'xlsnap', command: 'import', domain, args: ['/dev/stdin'] })}`;
}
