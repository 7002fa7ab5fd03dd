/** The real libvirt-dbus on a bus of a test's own, connected to a daemon of ours. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PrivateBus } from './private-bus.ts';

/** Where the URI that it is asked for, qemu:///session of root, leads. */
const LIBVIRT_RUN = '/run/libvirt';

export class LibvirtDbus implements AsyncDisposable {
  /** Its connection that is the daemon. */
  readonly connect = '/org/libvirt/QEMU';
  readonly #sockets: string;
  readonly #process: ChildProcess;

  private constructor(sockets: string, child: ChildProcess) {
    this.#sockets = sockets;
    this.#process = child;
  }

  /** Resolves when it owns its name. It connects to `socket` with the first call; its URIs are built in, its mounts are its own. */
  static async start(bus: PrivateBus, socket: string): Promise<LibvirtDbus> {
    const sockets = await mkdtemp(join(tmpdir(), 'xlsnap-libvirt-dbus-'));
    await symlink(socket, join(sockets, 'libvirt-sock'));
    const script = `mkdir -p ${LIBVIRT_RUN} && mount --bind ${sockets} ${LIBVIRT_RUN} && exec libvirt-dbus --session`;
    const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: bus.address };
    const child = spawn('unshare', ['--mount', 'sh', '-c', script], { env, stdio: 'ignore' });
    const started = new LibvirtDbus(sockets, child);
    try {
      await bus.waitFor('org.libvirt');
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, 'exit');
      this.#process.kill();
      await ended;
    }
    await rm(this.#sockets, { recursive: true, force: true });
  }
}
