/** A guest that stands still while something is done to it. */

import { explained } from '../errors.ts';
import { XEN } from './toolstack.ts';

/** Pauses the domain until it is disposed of; should this process die before that, the helper lets the guest go on. */
export async function domainHold(domid: number, toolstack = XEN): Promise<AsyncDisposable> {
  const xen = toolstack.startHelper();
  try {
    await xen.pause(domid);
  } catch (error) {
    await xen[Symbol.asyncDispose]();
    throw error;
  }
  return {
    async [Symbol.asyncDispose]() {
      await using _ended = xen;
      await xen.unpause(domid).catch((error) => {
        throw explained(error, `domain '${domid}' is left paused: 'xl unpause ${domid}' continues it`);
      });
    },
  };
}
