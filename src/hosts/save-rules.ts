/** Which domains can be saved at all. */

import { LibvirtError } from '../errors.ts';
import type { Domain, DomainRef, DomainState } from '../model/domain.ts';
import type { Upstream } from './upstream.ts';

const NO_UUID = '00000000-0000-0000-0000-000000000000';

/** Refuses Domain-0 and every state but running, and paused where whoever saves can do that. */
export function checkSavable({ ref, state }: Domain, savable: readonly DomainState[]): void {
  const { name, id, uuid } = ref;
  if (id === 0 || uuid === NO_UUID) {
    throw new LibvirtError('OPERATION_INVALID', `domain '${name}' is the control domain: it cannot be saved`);
  }
  if (savable.includes(state)) return;
  if (state === 'pmsuspended') {
    const text = `libxl doesn't support taking snapshots of PMSUSPENDED guests: wake domain '${name}' up first`;
    throw new LibvirtError('OPERATION_UNSUPPORTED', text);
  }
  if (state === 'paused') {
    // libvirt's own words (libxlDoDomainSave): nobody in a paused guest can answer the request to suspend.
    const text = `Domain '${id}' has to be running because libxenlight will suspend it: resume domain '${name}' first`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  throw new LibvirtError('OPERATION_INVALID', `domain '${name}' cannot be saved in state '${state}'`);
}

/** Refuses to go on with a domain that has ended, or has been started anew, since it was looked up. */
export async function checkSameDomain(upstream: Upstream, { name, uuid, id }: DomainRef): Promise<void> {
  const now = await upstream.lookupByUUID(uuid);
  if (now.id === id) return;
  const what = now.id < 0 ? 'has ended' : `was started anew (id ${now.id}, it was ${id})`;
  throw new LibvirtError('OPERATION_INVALID', `domain '${name}' ${what} in the meantime`);
}
