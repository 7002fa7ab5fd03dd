/** A message bus of a test's own, and calls on it by D-Bus' own tools. */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const START_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 30_000;

const THE_BUS = 'org.freedesktop.DBus';

/** Everybody may do everything, as on a session bus. */
const OPEN_POLICY = `
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>`;

interface PrivateBusOptions {
  /** Elements of the configuration: policies, service folders. Default: everybody may do everything. */
  readonly configuration?: string;
}

export class PrivateBus implements AsyncDisposable {
  readonly home: string;
  readonly address: string;
  #daemon: ChildProcess | undefined;

  private constructor(home: string) {
    this.home = home;
    this.address = `unix:path=${join(home, 'bus')}`;
  }

  static async start({ configuration = OPEN_POLICY }: PrivateBusOptions = {}): Promise<PrivateBus> {
    const home = await mkdtemp(join(tmpdir(), 'xlsnap-bus-'));
    // Other users come here, too.
    await chmod(home, 0o755);
    const bus = new PrivateBus(home);
    const { address } = bus;
    const listen = `<listen>${address}</listen><auth>EXTERNAL</auth>`;
    await writeFile(join(home, 'bus.conf'), `<busconfig>${listen}${configuration}</busconfig>`);
    await bus.begin();
    return bus;
  }

  /** Starts the bus daemon, again where `end` has ended it. */
  async begin(): Promise<void> {
    const args = ['--nofork', '--nopidfile', '--print-address', `--config-file=${join(this.home, 'bus.conf')}`];
    const daemon = spawn('dbus-daemon', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#daemon = daemon;
    const signal = AbortSignal.timeout(START_TIMEOUT_MS);
    await Promise.race([once(daemon.stdout, 'data', { signal }), once(daemon, 'exit', { signal })]);
    if (daemon.exitCode !== null) throw new Error(`dbus-daemon ended with ${daemon.exitCode}`);
  }

  /** Has it answer nothing more: what is asked of it from now on waits until it ends. */
  stop(): void {
    this.#daemon?.kill('SIGSTOP');
  }

  async end(): Promise<void> {
    if (!this.#daemon || this.#daemon.exitCode !== null || this.#daemon.signalCode !== null) return;
    const ended = once(this.#daemon, 'exit');
    this.#daemon.kill('SIGKILL');
    await ended;
  }

  /**
   * What dbus-send prints of the reply, or `Error <name>: <text>`. Arguments have their types: `uint32:0`. `prefix`: a
   * command that runs it, as another user for instance.
   */
  async call(
    destination: string,
    path: string,
    method: string,
    args: readonly string[] = [],
    prefix: readonly string[] = [],
  ): Promise<string> {
    const [program = '', ...words] = [...prefix, 'dbus-send', `--bus=${this.address}`, '--print-reply=literal'];
    const options = [`--reply-timeout=${CALL_TIMEOUT_MS}`, `--dest=${destination}`];
    const { stdout, stderr } = await this.run(program, ...words, ...options, path, method, ...args);
    return (stdout || stderr).trim();
  }

  /** Any program, with this bus as its session bus. */
  run(program: string, ...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
    const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: this.address };
    return new Promise((resolve) => {
      execFile(program, args, { env, timeout: CALL_TIMEOUT_MS, maxBuffer: 1 << 26 }, (_error, stdout, stderr) => {
        resolve({ stdout, stderr });
      });
    });
  }

  /** Resolves when the name has an owner. */
  async waitFor(name: string): Promise<void> {
    for (const end = Date.now() + CALL_TIMEOUT_MS; Date.now() < end; await delay(20)) {
      if ((await this.#owned(name)) === 'boolean true') return;
    }
    throw new Error(`nobody owns ${name}`);
  }

  /** Resolves when it has none. */
  async waitForNobody(name: string): Promise<void> {
    for (const end = Date.now() + CALL_TIMEOUT_MS; Date.now() < end; await delay(20)) {
      if ((await this.#owned(name)) === 'boolean false') return;
    }
    throw new Error(`${name} is still owned`);
  }

  /** The lines of `gdbus monitor` about what this name's owner sends. `prefix`: a command that runs it. */
  async monitor(name: string, prefix: readonly string[] = []): Promise<Monitor> {
    const monitor = new Monitor(this, name, prefix);
    await monitor.heard('is owned by');
    return monitor;
  }

  #owned(name: string): Promise<string> {
    return this.call(THE_BUS, '/org/freedesktop/DBus', `${THE_BUS}.NameHasOwner`, [`string:${name}`]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await rm(this.home, { recursive: true, force: true });
  }
}

class Monitor implements Disposable {
  readonly #process: ChildProcess;
  #text = '';

  constructor({ address }: PrivateBus, name: string, prefix: readonly string[]) {
    const env = { ...process.env, DBUS_SESSION_BUS_ADDRESS: address };
    const [program = '', ...args] = [...prefix, 'gdbus', 'monitor', '--session', '--dest', name];
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
    });
    this.#process = child;
  }

  /** Signals so far, each as `<path>: <interface>.<member> (<values>)`. */
  get signals(): readonly string[] {
    return this.#text.split('\n').filter((line) => line.startsWith('/'));
  }

  /** Resolves when a line has this in it. */
  async heard(text: string): Promise<void> {
    for (const end = Date.now() + CALL_TIMEOUT_MS; !this.#text.includes(text); await delay(20)) {
      if (Date.now() > end) throw new Error(`'${text}' was not heard in:\n${this.#text}`);
    }
  }

  [Symbol.dispose](): void {
    this.#process.kill();
  }
}
