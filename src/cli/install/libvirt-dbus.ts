/** libvirt-dbus, for which the bus starts a process at the first call. It keeps its connections to libvirt for ever. */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const NAME = 'org.libvirt';
const PROGRAM = 'libvirt-dbus';
const BUSCTL_TIMEOUT_MS = 10_000;

/** Returns the process of the running libvirt-dbus; undefined if there is none. */
export async function libvirtDbusProcess(): Promise<number | undefined> {
  const bus = ['org.freedesktop.DBus', '/', 'org.freedesktop.DBus'];
  const words = ['--system', 'call', ...bus, 'GetConnectionUnixProcessID', 's', NAME];
  try {
    const { stdout } = await promisify(execFile)('busctl', words, { timeout: BUSCTL_TIMEOUT_MS });
    const pid = Number(/^u (\d+)/.exec(stdout)?.[1]);
    // Without a libvirt-dbus the name is xlsnapd's.
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === PROGRAM ? pid : undefined;
  } catch {
    return undefined;
  }
}
