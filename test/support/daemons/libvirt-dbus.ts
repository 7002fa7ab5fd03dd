/** The real libvirt-dbus on a bus of a test's own, whose `/org/libvirt/QEMU` is a daemon of ours. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { seeing } from '../seeing.ts';
import type { PrivateBus } from './private-bus.ts';

export class LibvirtDbus implements AsyncDisposable {
  readonly #process: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#process = child;
  }

  /** Resolves when it owns its name. It connects to `socket` with the first call: its URIs are built in, its mounts its own. */
  static async start(bus: PrivateBus, socket: string): Promise<LibvirtDbus> {
    const [program, args] = await seeing(socket, join(bus.home, 'libvirt'), 'libvirt-dbus --session');
    const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: bus.address };
    const started = new LibvirtDbus(spawn(program, args, { env, stdio: 'ignore' }));
    try {
      await bus.waitFor('org.libvirt');
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill();
    await ended;
  }
}
