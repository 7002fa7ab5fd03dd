/** Refuses domains that cannot be saved at all. */

import { isLibvirtError, LibvirtError } from '../../errors.ts';
import type { Domain, DomainRef, DomainState } from '../../model/domain.ts';
import type { Upstream } from './upstream.ts';

/** In the capabilities of libvirt's xen driver. */
const XEN_GUESTS = /<domain type=['"]xen['"]/;
const NO_UUID = '00000000-0000-0000-0000-000000000000';

/** Refuses Domain-0, and every state that is not in `savable`. */
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
    // libvirt's own words (libxlDoDomainSave): a paused guest cannot answer the request to suspend.
    const text = `Domain '${id}' has to be running because libxenlight will suspend it: resume domain '${name}' first`;
    throw new LibvirtError('OPERATION_INVALID', text);
  }
  throw new LibvirtError('OPERATION_INVALID', `domain '${name}' cannot be saved in state '${state}'`);
}

/**
 * Refuses (84) a Xen host that cannot save guests, as on Arm: libvirt built for such a libxl (LIBXL_HAVE_NO_SUSPEND_RESUME)
 * leaves `<migration_features>` out of its capabilities. `instead`: what the user can do.
 */
export async function checkHostSaves(upstream: Upstream, { name }: DomainRef, instead: string): Promise<void> {
  const capabilities = await upstream.getCapabilities();
  if (!XEN_GUESTS.test(capabilities) || capabilities.includes('<migration_features>')) return;
  throw new LibvirtError(
    'OPERATION_UNSUPPORTED',
    `Xen on this host cannot save the memory of domain '${name}': ${instead}`,
  );
}

/** Refuses a domain that has ended, or has been started again, since it was looked up. */
export async function checkSameDomain(upstream: Upstream, ref: DomainRef): Promise<void> {
  if (await isSameDomain(upstream, ref)) return;
  throw new LibvirtError('OPERATION_INVALID', `domain '${ref.name}' has ended or was started again in the meantime`);
}

/** Compares the id: libxl does not use an id again within a minute, and libvirtd's other drivers never do. */
export async function isSameDomain(upstream: Upstream, { uuid, id }: DomainRef): Promise<boolean> {
  try {
    return (await upstream.lookupByUUID(uuid)).id === id;
  } catch (error) {
    if (isLibvirtError(error, 'NO_DOMAIN')) return false;
    throw error;
  }
}
