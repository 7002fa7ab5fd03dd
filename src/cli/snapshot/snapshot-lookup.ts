/** Finds a command's snapshot: `--snapshotname`, or the current one (virshLookupSnapshot). */

import type { DomainRef } from '../../model/domain.ts';
import type { SnapshotRef } from '../../rpc/client/snapshots.ts';
import { failure } from '../failure.ts';
import type { Session } from '../session.ts';

interface SnapshotChoice {
  readonly name: string | undefined;
  readonly current: boolean;
  /** The option that `name` comes from. */
  readonly option?: string;
  /** Accepts a name together with `--current`, which then has another meaning. */
  readonly both?: boolean;
}

/** Refuses, in virsh's words, both or neither of name and `--current`. */
export async function lookupSnapshot(
  session: Session,
  domain: DomainRef,
  { name, current, option = 'snapshotname', both = false }: SnapshotChoice,
): Promise<SnapshotRef> {
  if (current && name !== undefined && !both) throw failure(`--${option} and --current are mutually exclusive`);
  const { snapshots } = await session.client();
  if (name !== undefined) return snapshots.lookupByName(domain, name, 0);
  if (current) return snapshots.current(domain, 0);
  throw failure(`--${option} or --current is required`);
}
