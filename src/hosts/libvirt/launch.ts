/** Starts a domain through libvirtd, and makes sure that it is running, or paused, at the end. */

import { isLibvirtError, LibvirtError } from '../../errors.ts';
import type { DomainDefinition, DomainRef } from '../../model/domain.ts';
import { LIFECYCLE, type LifecycleEvent } from '../../model/events.ts';
import type { LifecycleEvents } from '../../snapshots/ports/host.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { type HeldImage, holdImage } from './held-image.ts';
import { hideEvents } from './hidden-events.ts';
import { restoredAs } from './saved-image.ts';
import { SAVE_PAUSED, START_PAUSED, type Upstream } from './upstream.ts';

/** Events that a restore causes in libvirtd: the first in every driver, the others in qemu's alone. */
const RESTORE_CAUSES: readonly LifecycleEvent[] = [
  LIFECYCLE.STARTED_RESTORED,
  LIFECYCLE.RESUMED_FROM_SNAPSHOT,
  LIFECYCLE.SUSPENDED_RESTORED,
];
const START_CAUSES: readonly LifecycleEvent[] = [LIFECYCLE.STARTED_BOOTED];
const PAUSED_START_CAUSES: readonly LifecycleEvent[] = [...START_CAUSES, LIFECYCLE.SUSPENDED_PAUSED];

interface RestoreAs {
  readonly paused?: boolean;
  readonly definition: DomainDefinition;
}

/** Each method returns the domain with its new id. Clients see no event of it: the caller emits those. */
export class Launcher {
  readonly #upstream: Upstream;
  readonly #events: LifecycleEvents;

  constructor(upstream: Upstream, events: LifecycleEvents) {
    this.#upstream = upstream;
    this.#events = events;
  }

  /**
   * Restores from a memory image, with `definition` in place of the image's own. If `paused` is left out, in the state
   * in which the domain was saved, if the driver's images record that.
   */
  async restore(ref: DomainRef, memoryPath: string, as: RestoreAs): Promise<DomainRef> {
    await using image = await holdImage(this.#upstream, memoryPath);
    return await this.restoreHeld(ref, image, as);
  }

  /** The same from an image that is held already. */
  async restoreHeld({ uuid }: DomainRef, image: HeldImage, { paused, definition }: RestoreAs): Promise<DomainRef> {
    using _hidden = hideEvents(this.#events, uuid, RESTORE_CAUSES);
    const restore = (at: string): Promise<void> =>
      withFlag(paused ? SAVE_PAUSED : 0, (flags) => this.#upstream.restoreFlags(at, flags));
    await restoredAs(this.#upstream, image, definition, restore);
    return await this.#settle(uuid, paused);
  }

  /**
   * Boots from the persistent definition. Drops a managed save, or libvirtd would resume instead of booting. A
   * transient domain has no persistent definition, and is created from `transient`.
   */
  async start(
    ref: DomainRef,
    { paused, transient }: { readonly paused: boolean; readonly transient?: DomainDefinition },
  ): Promise<DomainRef> {
    using _hidden = hideEvents(this.#events, ref.uuid, paused ? PAUSED_START_CAUSES : START_CAUSES);
    const flag = paused ? START_PAUSED : 0;
    if (transient) {
      await withFlag(flag, (flags) => this.#upstream.createXML(writeElement(transient.element), flags));
      return await this.#settle(ref.uuid, paused);
    }
    if (await this.#upstream.hasManagedSaveImage(ref)) await this.#upstream.managedSaveRemove(ref);
    await withFlag(flag, (flags) => this.#upstream.createWithFlags(ref, flags));
    return await this.#settle(ref.uuid, paused);
  }

  /**
   * Corrects the state: a driver may not know the flag, and a domain that was saved while paused is restored paused.
   */
  async #settle(uuid: string, paused: boolean | undefined): Promise<DomainRef> {
    const ref = await this.#upstream.lookupByUUID(uuid);
    if (ref.id < 0) throw new LibvirtError('OPERATION_FAILED', `domain '${ref.name}' ended as soon as it was started`);
    const state = await this.#upstream.getState(ref);
    if (paused && state !== 'paused') {
      using _hidden = hideEvents(this.#events, uuid, [LIFECYCLE.SUSPENDED_PAUSED]);
      await this.#upstream.suspend(ref);
    } else if (paused === false && state === 'paused') {
      using _hidden = hideEvents(this.#events, uuid, [LIFECYCLE.RESUMED_UNPAUSED]);
      await this.#upstream.resume(ref);
    }
    return ref;
  }
}

/** Drivers differ in the flags they know (the test driver: none). Without the flag, `settle` corrects the state. */
async function withFlag(flag: number, call: (flags: number) => Promise<unknown>): Promise<void> {
  try {
    await call(flag);
  } catch (error) {
    if (flag === 0 || !isLibvirtError(error, 'INVALID_ARG')) throw error;
    await call(0);
  }
}
