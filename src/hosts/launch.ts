/** Starting a domain through libvirtd so that it is surely running, or surely paused, at the end. */

import { isLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import { SAVE_PAUSED, START_PAUSED, type Upstream } from './upstream.ts';

/** From a memory image. Returns the domain with its new id. */
export async function restoreDomain(
  upstream: Upstream,
  { uuid }: DomainRef,
  memoryPath: string,
  paused: boolean,
): Promise<DomainRef> {
  await withFlag(paused ? SAVE_PAUSED : 0, (flags) => upstream.restoreFlags(memoryPath, flags));
  return settle(upstream, uuid, paused);
}

/** From its definition. Returns the domain with its new id. */
export async function startDomain(upstream: Upstream, ref: DomainRef, paused: boolean): Promise<DomainRef> {
  await withFlag(paused ? START_PAUSED : 0, (flags) => upstream.createWithFlags(ref, flags));
  return settle(upstream, ref.uuid, paused);
}

/** Drivers differ in the flags they know (the test driver: none). Without the flag, `settle` has the last word. */
async function withFlag(flag: number, call: (flags: number) => Promise<unknown>): Promise<void> {
  try {
    await call(flag);
  } catch (error) {
    if (flag === 0 || !isLibvirtError(error, 'INVALID_ARG')) throw error;
    await call(0);
  }
}

/** A domain that was saved while paused may come back paused, whatever was asked for. */
async function settle(upstream: Upstream, uuid: string, paused: boolean): Promise<DomainRef> {
  const ref = await upstream.lookupByUUID(uuid);
  if (ref.id < 0) throw new LibvirtError('OPERATION_FAILED', `domain '${ref.name}' ended as soon as it was started`);
  const state = await upstream.getState(ref);
  if (paused && state !== 'paused') await upstream.suspend(ref);
  if (!paused && state === 'paused') await upstream.resume(ref);
  return ref;
}
