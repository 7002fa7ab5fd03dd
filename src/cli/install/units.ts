/** Controls systemd during an installation: stops and starts units in the right order. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { LibvirtError } from '../../errors.ts';

/** Rejects with systemctl's own words. */
export type Systemctl = (...words: readonly string[]) => Promise<void>;

/** Longer than the service's own limits for its stop and its start. */
const SYSTEMCTL_TIMEOUT_MS = 16 * 60_000;

/** systemd is the init of this host (sd_booted(3)). */
export function isBooted(): boolean {
  return existsSync('/run/systemd/system');
}

/** Runs systemctl. Rejects with its own words if it fails. */
export function systemctl(...words: readonly string[]): Promise<void> {
  return new Promise((done, fail) => {
    execFile('systemctl', words, { timeout: SYSTEMCTL_TIMEOUT_MS }, (error, _stdout, stderr) => {
      if (!error) done();
      else fail(failed(words, stderr.trim() || error.message, error));
    });
  });
}

function failed(words: readonly string[], reason: string, cause: Error): LibvirtError {
  const text = `systemctl ${words.join(' ')}: ${reason} (journalctl -u xlsnapd says more)`;
  return new LibvirtError('OPERATION_FAILED', text, { cause });
}

/** Those of the modular xen daemon. */
const VIRTXEND_SOCKETS = ['virtxend.socket', 'virtxend-ro.socket', 'virtxend-admin.socket'];

/**
 * Starts units that were just written, with these sockets. Restarts a daemon that runs already. Returns true if a socket is
 * new: who is connected to libvirtd stays there until the next connection.
 */
export async function startUnits(run: Systemctl, sockets: readonly string[]): Promise<boolean> {
  const inactive: string[] = [];
  for (const socket of sockets) if (!(await isActive(socket))) inactive.push(socket);
  await reload(run);
  // Sockets of a running service cannot be bound again.
  await run('stop', 'xlsnapd.service');
  await run('restart', ...sockets);
  await run('start', 'xlsnapd.service');
  return (await Promise.all(inactive.map(isActive))).includes(true);
}

/**
 * Makes systemd read what was written or removed. Sockets of virtxend that are in use move with it: they are closed
 * first, while systemd still knows which files to remove. Guests keep running (virtxend's own KillMode=process).
 */
export async function reload(run: Systemctl): Promise<void> {
  const inUse: string[] = [];
  for (const socket of VIRTXEND_SOCKETS) if (await isActive(socket)) inUse.push(socket);
  if (inUse.length > 0) await run('stop', 'virtxend.service', ...inUse);
  await run('daemon-reload');
  if (inUse.length > 0) await run('start', ...inUse);
}

async function isActive(unit: string): Promise<boolean> {
  return await systemctl('is-active', '--quiet', unit).then(
    () => true,
    () => false,
  );
}
