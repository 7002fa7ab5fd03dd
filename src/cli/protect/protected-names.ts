/** Which snapshots are protected, for commands that show them. */

import { asLibvirtError, isLibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import type { Session } from '../session.ts';

/** Returns the names. If the daemon cannot say it, its record being damaged, returns none and says so on standard error. */
export async function protectedNames(session: Session, domain: DomainRef): Promise<ReadonlySet<string>> {
  const client = await session.client();
  try {
    return new Set(await client.listProtected(domain));
  } catch (error) {
    if (!isLibvirtError(error, 'OPERATION_INVALID')) throw error;
    session.note(asLibvirtError(error).message);
    return new Set();
  }
}
