/** The one procedure of libvirt's QEMU program (qemu_protocol.x) that is answered here; the upstream gets the others. */

import { int, optional, string, struct, uint } from './codec.ts';
import { domain } from './messages.ts';

/** virDomainQemuAgentCommand. */
export const AGENT_COMMAND = {
  number: 3,
  args: struct({ domain, cmd: string, timeout: int, flags: uint }),
  result: struct({ result: optional(string) }),
} as const;
