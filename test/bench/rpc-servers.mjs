// What the RPC bench measures: a private libvirtd, xlsnapd before it, and clients that send one call after another.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const DIST = join(import.meta.dirname, '../../dist');
const { decodePayload, encodeFrame, STATUS, TYPE } = await import(`${DIST}/rpc/wire/frames.js`);
const { remoteError } = await import(`${DIST}/rpc/wire/messages.js`);
export const { PROCEDURES } = await import(`${DIST}/rpc/wire/procedures.js`);

const NOBODY = 65_534;
const START_MS = 20_000;

async function listening(path, child) {
  for (const end = Date.now() + START_MS; !existsSync(path); await delay(20)) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`nobody listens at ${path}`);
  }
}

function stopper(child) {
  return async () => {
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  };
}

/** Read-only clients that pipeline calls, in a process of their own. */
export async function startAttack(path, clients, uuid, snapshot) {
  const script = join(import.meta.dirname, 'pipelining-clients.mjs');
  const args = [script, path, 'test:///default', `${clients}`, uuid, snapshot];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return { stop: stopper(child) };
}

/** libvirtd as nobody (root's would take the system's folders), with the test driver and pools of its own. */
export async function startLibvirtd(home) {
  const folders = ['sock', 'home', 'run', 'cache', 'data', 'config'].map((name) => join(home, name));
  const config = join(home, 'libvirtd.conf');
  for (const folder of folders) mkdirSync(folder);
  writeFileSync(config, `unix_sock_dir = "${folders[0]}"\nunix_sock_rw_perms = "0777"\nauth_unix_rw = "none"\n`);
  chmodSync(home, 0o755);
  const root = process.getuid?.() === 0;
  if (root) for (const path of [config, ...folders]) chownSync(path, NOBODY, NOBODY);
  const [, HOME, XDG_RUNTIME_DIR, XDG_CACHE_HOME, XDG_DATA_HOME, XDG_CONFIG_HOME] = folders;
  const child = spawn('libvirtd', ['--config', config, '--pid-file', join(folders[2], 'pid')], {
    stdio: 'ignore',
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      HOME,
      XDG_RUNTIME_DIR,
      XDG_CACHE_HOME,
      XDG_DATA_HOME,
      XDG_CONFIG_HOME,
    },
    ...(root && { uid: NOBODY, gid: NOBODY }),
  });
  const socket = join(folders[0], 'libvirt-sock');
  await listening(socket, child);
  return { socket, stop: stopper(child) };
}

/** The environment that the unit gives the daemon. */
const UNIT = readFileSync(join(import.meta.dirname, '../../packaging/systemd/xlsnapd.service'), 'utf8');
const ENVIRONMENT = Object.fromEntries(
  Array.from(UNIT.matchAll(/^Environment=(\w+)=(.*)$/gm), ([, name, value]) => [name, value]),
);

export async function startXlsnapd(home, upstream) {
  mkdirSync(home, { recursive: true });
  const places = ['state', 'snapshot', 'memory'].flatMap((name) => [`--${name}-dir`, join(home, name)]);
  const socket = join(home, 'sock');
  const child = spawn(
    process.execPath,
    [
      ...[join(DIST, 'daemon/main.js'), '--connect', 'test:///default', '--log-level', 'error'],
      ...['--upstream', upstream, '--listen', socket, ...places],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...ENVIRONMENT } },
  );
  await listening(socket, child);
  const residentMiB = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024;
  return { socket, residentMiB, stop: stopper(child) };
}

/** As little as Node can do to stand between a client and libvirtd: what is above this is xlsnapd's own cost. */
export async function startForwarder(home, upstream) {
  const socket = join(home, 'forwarder');
  const child = spawn(process.execPath, [join(import.meta.dirname, 'forwarder.mjs'), socket, upstream], {
    stdio: 'inherit',
    env: { ...process.env, ...ENVIRONMENT },
  });
  await listening(socket, child);
  return { socket, stop: stopper(child) };
}

/** A connection with one call at a time, and as little of its own cost as can be: whole replies are counted by their length word. */
export class Client {
  #socket;
  #serial = 0;
  #wanted;
  #pieces = [];
  #got = 0;

  static async open(path) {
    const client = new Client();
    client.#socket = connect(path);
    client.#socket.on('data', (piece) => client.#take(piece));
    await once(client.#socket, 'connect');
    await client.call(PROCEDURES.AUTH_LIST, undefined);
    await client.call(PROCEDURES.CONNECT_OPEN, { name: 'test:///default', flags: 0 });
    return client;
  }

  #take(piece) {
    this.#pieces.push(piece);
    this.#got += piece.length;
    if (this.#got < 4) return;
    if (this.#pieces.length > 1 && this.#pieces[0].length < 4) this.#pieces = [Buffer.concat(this.#pieces)];
    if (this.#got < this.#pieces[0].readUInt32BE(0)) return;
    const bytes = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#got = 0;
    this.#wanted(bytes);
  }

  /** The bytes of the reply to the bytes of a call. */
  send(frame) {
    this.#socket.write(frame);
    return new Promise((resolve) => {
      this.#wanted = resolve;
    });
  }

  encode(procedure, args) {
    return encodeFrame({ procedure: procedure.number, type: TYPE.CALL, serial: this.#serial++ }, procedure.args, args);
  }

  async call(procedure, args) {
    const reply = await this.send(this.encode(procedure, args));
    if (reply.readUInt32BE(24) === STATUS.ERROR) throw new Error(decodePayload(remoteError, reply).message);
    return decodePayload(procedure.result, reply);
  }

  close() {
    this.#socket.destroy();
  }
}

/** Runs virsh to its end; its words are the error when it fails. */
export function virsh(uri, ...args) {
  const { status, stderr } = spawnSync('virsh', ['-c', uri, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`virsh ${args.join(' ')}: ${stderr}`);
}
