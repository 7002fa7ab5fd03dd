/** What libvirtd.conf (virtxend.conf) says about who may enter. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { LibvirtError, systemError } from '../errors.ts';
import { AUTH_SCHEMES, type AuthScheme } from './authentication.ts';

export interface AccessSettings {
  /** auth_unix_rw. */
  readonly write: AuthScheme;
  /** auth_unix_ro. */
  readonly readOnly: AuthScheme;
  /** True if access_drivers has `polkit`: then every call is judged. */
  readonly acl: boolean;
}

/** The configuration file of the daemon that listens at this socket. */
export function confOf(upstream: string): string {
  return `/etc/libvirt/${basename(upstream).startsWith('virtxend') ? 'virtxend' : 'libvirtd'}.conf`;
}

/** Without a file, or a line in it, libvirt's own defaults apply. SYSTEM_ERROR if it is there and cannot be read. */
export async function readAccessSettings(path: string): Promise<AccessSettings> {
  try {
    return accessSettings(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return accessSettings('');
    if (error instanceof LibvirtError) throw error;
    throw systemError(error, `Failed to open file '${path}'`);
  }
}

/** The last line of a key counts, as in libvirt. */
export function accessSettings(text: string): AccessSettings {
  const drivers = settingOf(text, 'access_drivers') ?? '';
  return {
    write: schemeOf(settingOf(text, 'auth_unix_rw')),
    readOnly: schemeOf(settingOf(text, 'auth_unix_ro')),
    acl: /["']polkit["']/.test(drivers),
  };
}

/** A string with its quotes, or a list with its brackets, which may go over several lines. */
function settingOf(text: string, key: string): string | undefined {
  const value = new RegExp(`^[ \\t]*${key}\\s*=\\s*("[^"]*"|'[^']*'|\\[[^\\]]*\\])`, 'gm');
  return [...text.matchAll(value)].at(-1)?.[1];
}

/** libvirt with polkit, as every distribution builds it, has polkit by default. */
function schemeOf(value: string | undefined): AuthScheme {
  if (value === undefined) return 'polkit';
  const scheme = AUTH_SCHEMES.find((known) => known === value.slice(1, -1));
  if (scheme) return scheme;
  throw new LibvirtError('CONFIG_UNSUPPORTED', `unsupported auth ${value.slice(1, -1)}`);
}
