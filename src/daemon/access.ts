/** Decides how clients are let in: as the upstream's own sockets let them in, unless the options say otherwise. */

import { type Stats, statSync } from 'node:fs';
import type { AuthScheme, Entries, Entry } from '../access/authentication.ts';
import type { Authority } from '../access/authority.ts';
import { type AccessSettings, confOf, readAccessSettings } from '../access/libvirtd-conf.ts';
import { Polkit } from '../dbus/polkit.ts';
import type { Opened } from './disposables.ts';
import type { Log } from './log.ts';
import { type DaemonOptions, readOnlySocketOf } from './options.ts';
import { bounded } from './rate-limited-log.ts';

export interface Access {
  readonly authority: Authority;
  readonly entries: Entries;
  /** True if the upstream asks polkit about every call. */
  readonly acl: boolean;
}

type Asked = Pick<DaemonOptions, 'auth' | 'owner' | 'upstream' | 'upstreamConfig' | 'dbus'>;

/** Paths of the sockets that systemd has bound for us. */
interface BoundSocket {
  readonly path: string | undefined;
  readonly readOnly: boolean;
}

/** Of libvirt's daemons the libvirtd is asked, which judges each call. */
const NO_ACL = 'libvirtd.conf asks polkit about every call (access_drivers), which needs a libvirtd';

const OPEN: AccessSettings = { write: 'none', readOnly: 'none', acl: false };

/** Rejects if the upstream's configuration is there and cannot be read. */
export async function openAccess(
  options: Asked,
  { sockets, log, opened }: { sockets: readonly BoundSocket[]; log: Log; opened: Opened },
): Promise<Access> {
  const { auth, owner, upstream, upstreamConfig, dbus } = options;
  const authority = opened.use(new Polkit(polkitBus(dbus), bounded(log.warning)));
  // A session daemon, and the embedded host, are their user's own: nobody else may connect there. On a host of xl libvirt's
  // configuration counts, and its defaults if there is none.
  const host = upstream !== undefined && isRoots(upstream) ? upstream : undefined;
  const conf = owner === 'xl' ? confOf(owner) : host && confOf(host);
  const settings = conf === undefined ? OPEN : await readAccessSettings(upstreamConfig ?? conf);
  const entryOf = (readOnly: boolean): Entry => {
    const asked = readOnly ? settings.readOnly : settings.write;
    if (auth === 'auto' && owner === 'xl' && settings.acl) return { scheme: 'closed', reason: NO_ACL };
    if (auth !== 'auto' || host === undefined) return byScheme(auth === 'auto' ? asked : auth, authority);
    if (asked === 'sasl') return byScheme(asked, authority);
    const its = readOnly ? readOnlySocketOf(host) : host;
    const wider = sockets.find((own) => own.readOnly === readOnly && isWider(statOf(own.path), statOf(its)));
    return wider
      ? {
          scheme: 'closed',
          reason: `socket '${wider.path}' admits users whom '${its}' does not (xlsnap install sets it right)`,
        }
      : byScheme(asked, authority);
  };
  const entries = { write: entryOf(false), readOnly: entryOf(true) };
  for (const [kind, entry] of Object.entries(entries)) {
    if (entry.scheme === 'closed') log.warning(`only root may connect (${kind}): ${entry.reason}`);
  }
  return { authority, entries, acl: settings.acl };
}

function byScheme(scheme: AuthScheme, authority: Authority): Entry {
  if (scheme === 'polkit') return { scheme, authority };
  if (scheme === 'none') return { scheme };
  return { scheme: 'closed', reason: 'libvirtd asks for SASL on this socket, which xlsnapd does not have' };
}

function isRoots(socket: string): boolean {
  return process.geteuid?.() === 0 && (statOf(socket)?.uid ?? 0) === 0;
}

const statOf = (path: string | undefined): Stats | undefined =>
  path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });

/** True if somebody may write to the first socket who may not write to the second: polkit is not asked about those. */
function isWider(own: Stats | undefined, its: Stats | undefined): boolean {
  if (!own || !its || (its.mode & 0o002) !== 0) return false;
  const sameGroup = own.gid === its.gid && (its.mode & 0o020) !== 0;
  return (own.mode & 0o002) !== 0 || ((own.mode & 0o020) !== 0 && own.gid !== 0 && !sameGroup);
}

/** polkit is on the system bus; a daemon that is given the address of a bus finds it there. */
const polkitBus = (bus: string | undefined): string => (bus === undefined || bus === 'session' ? 'system' : bus);
