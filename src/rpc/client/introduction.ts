/** The calls by which libvirt's client introduces itself: authentication, name, features, events. */

import { LibvirtError } from '../../errors.ts';
import { CONNECT, EVENT_ID, FEATURE } from '../wire/procedures.ts';
import { CALLS } from './calls.ts';
import type { ClientConnection } from './connection.ts';

/** Who is connected with, and as what. */
export interface Introduction {
  /** Socket of the libvirtd. */
  readonly path: string;
  /** Name for CONNECT_OPEN, `xen:///system`. */
  readonly uri: string;
  readonly readOnly?: boolean;
}

/** remote_auth_type. */
const AUTH = { NONE: 0, POLKIT: 2 } as const;

/** Rejects if the libvirtd refuses this client (AUTH_FAILED or its own code), or is too old for events per callback. */
export async function introduce(connection: ClientConnection, { path, uri, readOnly }: Introduction): Promise<void> {
  await authenticate(connection);
  await connection.call(CALLS.open, { name: uri, flags: readOnly ? CONNECT.RO : 0 });
  await requireEvents(connection, path);
  await connection.call(CALLS.registerAny, { eventID: EVENT_ID.LIFECYCLE, domain: null });
}

async function authenticate(connection: ClientConnection): Promise<void> {
  const [type = AUTH.NONE] = (await connection.call(CALLS.authList, undefined)).types;
  if (type === AUTH.POLKIT) {
    await connection.call(CALLS.authPolkit, undefined);
  } else if (type !== AUTH.NONE) {
    const text = `unsupported authentication type ${type}: run as root, or as somebody whom the daemon asks for none`;
    throw new LibvirtError('AUTH_FAILED', text, { domain: 'RPC' });
  }
}

/** Without this feature events arrive as other messages, without the number of their callback. */
async function requireEvents(connection: ClientConnection, path: string): Promise<void> {
  const { supported } = await connection.call(CALLS.supportsFeature, { feature: FEATURE.EVENT_CALLBACK });
  if (supported !== 0) return;
  const text = `libvirtd at '${path}' has no events per callback: libvirt 1.2.1 or newer is needed`;
  throw new LibvirtError('NO_SUPPORT', text, { domain: 'RPC' });
}
