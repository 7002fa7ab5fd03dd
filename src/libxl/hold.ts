/** Keeps a guest paused for a while. */

import { explained } from '../errors.ts';
import { XEN } from './toolstack.ts';

/** Pauses the domain until the result is disposed of. If this process dies before that, the helper unpauses the guest. */
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
