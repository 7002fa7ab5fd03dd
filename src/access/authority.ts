/** polkit's decisions, in libvirt's words. The bus on which polkit answers is src/dbus/polkit.ts. */

import { LibvirtError } from '../errors.ts';
import type { Subject } from './caller.ts';

export interface AuthorizationRequest {
  readonly subject: Subject;
  /** `org.libvirt.unix.manage`. */
  readonly action: string;
  /** What a rule may look at: `domain_name`. */
  readonly details?: Readonly<Record<string, string>>;
  /** True if polkit may ask the user for a password. */
  readonly interactive: boolean;
  /** Ends a question to the user who has gone. */
  readonly signal: AbortSignal;
}

/** CheckAuthorization's answer. */
export interface Authorization {
  readonly authorized: boolean;
  /** A password would help, and nothing could ask for it. */
  readonly challenge: boolean;
  /** The user has closed the dialog. */
  readonly dismissed: boolean;
}

/** org.freedesktop.PolicyKit1.Authority. */
export interface Authority {
  /** AUTH_FAILED if polkit does not answer: then the answer is no. */
  check(request: AuthorizationRequest): Promise<Authorization>;
}

/** The errors of virPolkitCheckAuth: on AUTH_UNAVAILABLE virsh starts an agent of its own, and asks again. */
export async function authenticate(authority: Authority, request: AuthorizationRequest): Promise<void> {
  const { authorized, challenge, dismissed } = await authority.check(request);
  if (authorized) return;
  const domain = 'POLKIT';
  if (dismissed) throw new LibvirtError('AUTH_CANCELLED', 'user cancelled authentication process', { domain });
  if (!challenge) throw new LibvirtError('AUTH_FAILED', 'access denied by policy', { domain });
  const text = `no polkit agent available to authenticate action '${request.action}'`;
  throw new LibvirtError('AUTH_UNAVAILABLE', text, { domain });
}
