// The line to a running lab host's dom0: commands go in, what they printed and their status come back.
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** A command's time limit, unless it says another. Everything is 3 to 10 times slower when the cores have other work. */
const COMMAND_TIMEOUT_MS = 300_000;
/** How long dom0's agent may take to report the end of a command that it was told to kill. */
const KILL_TIMEOUT_MS = 30_000;
const KILL_AGAIN_MS = 1_000;

const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** Promise.withResolvers, which Node 20 lacks. */
function deferred() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}

export class Dom0 {
  #place;
  #socket;
  #waiting = new Map();
  #ready = deferred();

  /** The host that listens there: `folder` is what dom0 sees as /mnt/lab, `socket` the other end of its virtio-serial port. */
  static async connect(place) {
    const socket = connect(place.socket);
    await once(socket, 'connect');
    return new Dom0(place, socket);
  }

  constructor(place, socket) {
    this.#place = place;
    this.#socket = socket;
    this.#ready.promise.catch(() => {}); // whoever does not wait for it need not hear of its failure
    createInterface({ input: socket }).on('line', (line) => this.#receive(JSON.parse(line)));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => this.#ended());
  }

  get folder() {
    return this.#place.folder;
  }

  /** What the agent says once, when Xen's services are up. */
  get ready() {
    return this.#ready.promise;
  }

  /**
   * Runs a bash script as root in dom0, in this process's working directory, with the functions of dom0-lib.sh.
   * @returns {Promise<{rc: number, stdout: Buffer, stderr: Buffer}>}
   */
  async run(script, { timeoutMs = COMMAND_TIMEOUT_MS, signal, onStart } = {}) {
    signal?.throwIfAborted();
    const { id, dir } = this.#newCommand();
    writeFileSync(`${dir}/script`, `cd ${quoted(process.cwd())}\n${script}\n`);
    for (const stream of ['stdout', 'stderr']) writeFileSync(`${dir}/${stream}`, '');
    const output = () => ({ stdout: readFileSync(`${dir}/stdout`), stderr: readFileSync(`${dir}/stderr`) });

    const answer = deferred();
    this.#waiting.set(id, answer);
    this.#socket.write(`run ${id}\n`);
    onStart?.(dir);
    let stopped;
    let killing;
    const stop = (reason) => {
      if (stopped !== undefined) return;
      stopped = reason;
      const since = Date.now();
      const kill = () => {
        if (Date.now() - since > KILL_TIMEOUT_MS)
          answer.reject(new Error(`dom0 cannot end command ${id}; ${this.#seeConsole()}`));
        else this.#socket.write(`kill ${id}\n`); // again and again: the command may not even have its own session yet
      };
      kill();
      killing = setInterval(kill, KILL_AGAIN_MS);
    };
    const limit = setTimeout(() => stop(`its time limit of ${timeoutMs} ms`), timeoutMs);
    const onAbort = () => stop('being told to');
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      const { rc } = await answer.promise;
      if (stopped === undefined) return { rc, ...output() };
    } finally {
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(limit);
      clearInterval(killing);
      this.#waiting.delete(id);
    }
    const { stdout, stderr } = output();
    throw new Error(`stopped in dom0 after ${stopped}: ${script}\nstdout: ${stdout}\nstderr: ${stderr}`);
  }

  close() {
    this.#socket.destroy();
  }

  [Symbol.dispose]() {
    this.close();
  }

  /** A folder of its own for the command, numbered in the order of the calls, over all who ever connected to this host. */
  #newCommand() {
    const commands = `${this.folder}/commands`;
    const id = String(readdirSync(commands).length + 1).padStart(4, '0');
    mkdirSync(`${commands}/${id}`);
    return { id, dir: `${commands}/${id}` };
  }

  #receive(message) {
    if (message.ready) this.#ready.resolve(message);
    else this.#waiting.get(message.id)?.resolve(message);
  }

  #ended() {
    const error = new Error(`the lab host ended or hung up; ${this.#seeConsole()}`);
    this.#ready.reject(error);
    for (const answer of this.#waiting.values()) answer.reject(error);
  }

  #seeConsole() {
    return `see ${this.folder}/console.log`;
  }
}
