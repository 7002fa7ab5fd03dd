/** Calls of xlsnapd's own program (wire/daemon-program.ts), the same behind a libvirtd and without one. */

import { LibvirtError } from '../../errors.ts';
import type { DaemonStatus } from '../../model/daemon-status.ts';
import { DAEMON_STATUS } from '../wire/daemon-program.ts';
import { type FrameHeader, PROGRAM, VERSION } from '../wire/frames.ts';
import { errorFrame } from '../wire/messages.ts';
import { type Answer, answer } from './answers.ts';

export const isDaemonCall = ({ program }: FrameHeader): boolean => program === PROGRAM.XLSNAP;

/** Refuses, as libvirtd would, other versions of the program, other procedures, and connections that are not open. */
export function daemonAnswer(status: DaemonStatus, isOpen: () => boolean): Answer {
  const [, tellStatus] = answer(DAEMON_STATUS, () => status);
  return async (call, frame, readOnly) => {
    const refusal = refusalOf(call, isOpen());
    return refusal === undefined
      ? await tellStatus(call, frame, readOnly)
      : errorFrame(call, new LibvirtError('RPC', refusal, { domain: 'RPC' }));
  };
}

function refusalOf({ program, version, procedure }: FrameHeader, isOpen: boolean): string | undefined {
  if (version !== VERSION) return `Cannot find program ${program} version ${version}`;
  if (procedure !== DAEMON_STATUS.number) return `unknown procedure: ${procedure}`;
  return isOpen ? undefined : 'hypervisor connection not open';
}
