import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, jest } from '@jest/globals';
import { type CommandOptions, Dom0, type LabPlace } from '../../lab/host/dom0.mjs';

/** A test may wait long for a busy machine: emulated, and with other work on the cores 3 to 10 times slower than alone. */
export const LAB_TEST_TIMEOUT_MS = 1_200_000;
/** start_xlsnapd itself gives up after 300 s. */
const XLSNAPD_TIMEOUT_MS = 310_000;
const TICK_TIMEOUT_MS = 240_000;
const POLL_MS = 100;

interface LabDisk {
  /** `phy`: a block device that is there already, served by the kernel. */
  readonly format: 'qcow2' | 'raw' | 'phy';
  /** In dom0, whose files are in RAM and gone with the host. */
  readonly path: string;
}

/** A Linux guest that counts: see test/lab/host/guest-init.sh. */
export interface LabGuest {
  readonly name: string;
  readonly type: 'pv' | 'pvh' | 'hvm';
  readonly memoryMiB: number;
  /** xvda, xvdb, … in this order. */
  readonly disks: readonly LabDisk[];
}

export interface TextResult {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;

/** A shell line of these very words. */
const line = (...words: readonly string[]) => words.map(quoted).join(' ');

/** The counter's values in the order they were printed; a line that is still being written is left out. */
const ticksIn = (log: string) => [...log.matchAll(/tick (\d+)\r?\n/g)].map((match) => Number(match[1]));

export class Lab {
  readonly dom0: Dom0;

  constructor(dom0: Dom0) {
    this.dom0 = dom0;
  }

  /** Runs a bash script in dom0, with the functions of test/lab/host/dom0-lib.sh; its status is the caller's to judge. */
  async sh(script: string, options?: CommandOptions): Promise<TextResult> {
    const { rc, stdout, stderr } = await this.dom0.run(script, options);
    return { rc, stdout: stdout.toString(), stderr: stderr.toString() };
  }

  /** Runs a bash script that must succeed, for its output. */
  async must(script: string, options?: CommandOptions): Promise<string> {
    const { rc, stdout, stderr } = await this.sh(script, options);
    if (rc !== 0) throw new Error(`status ${rc} in dom0 from: ${script}\nstdout: ${stdout}\nstderr: ${stderr}`);
    return stdout;
  }

  /** Plain `virsh -c xen:///system`: libvirt's own client picks the socket. */
  virsh(...words: readonly string[]): Promise<TextResult> {
    return this.sh(line('virsh', '-c', 'xen:///system', ...words));
  }

  /** What virsh prints, where the command has to succeed. */
  async ok(...words: readonly string[]): Promise<string> {
    const { rc, stdout, stderr } = await this.virsh(...words);
    if (rc !== 0) throw new Error(`virsh ${words.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** What virsh says, without `error: `, where the command has to fail. */
  async refused(...words: readonly string[]): Promise<string> {
    const { rc, stdout, stderr } = await this.virsh(...words);
    if (rc !== 1) throw new Error(`virsh ${words.join(' ')}: status ${rc}: ${stdout}`);
    return stderr.replace(/^error: /gm, '').trimEnd();
  }

  /** A real libvirtd with the xen driver; once per host is enough, and asking again is harmless. */
  async startLibvirtd(): Promise<void> {
    await this.must('start_libvirtd');
  }

  /** This checkout's dist/daemon/main.js, which dom0 sees as it was at its first look; waits until it listens at `socket`. */
  async startXlsnapd(args: readonly string[] = [], socket = '/run/libvirt/virtxend-sock'): Promise<void> {
    await this.must(line('start_xlsnapd', socket, ...args), { timeoutMs: XLSNAPD_TIMEOUT_MS });
  }

  async stopXlsnapd(): Promise<void> {
    await this.must('stop_xlsnapd');
  }

  /** Makes the domain known to libvirt, with a new image of 16 MiB for each of its disks. */
  async defineGuest(guest: LabGuest): Promise<void> {
    await this.#makeGuest('define_guest', guest);
  }

  /** A running domain that libvirt forgets when it ends, with new images. */
  async createGuest(guest: LabGuest): Promise<void> {
    await this.#makeGuest('create_guest', guest);
  }

  async #makeGuest(command: string, { name, type, memoryMiB, disks }: LabGuest): Promise<void> {
    const files = disks.filter(({ format }) => format !== 'phy');
    const create = files.map(({ format, path }) => line('qemu-img', 'create', '-q', '-f', format, path, '16M'));
    const images = disks.map(({ format, path }) => `${format}:${path}`);
    await this.must([...create, line(command, name, type, String(memoryMiB), ...images)].join(' && '));
  }

  /** Starts a defined guest and waits until it counts. */
  async startGuest(name: string): Promise<void> {
    const before = this.ticks(name).length;
    await this.must(line('virsh', '-c', 'xen:///system', 'start', name));
    await this.waitForTicks(name, (ticks) => ticks.length > before);
  }

  /** Every value the RAM counter of the guest ever had, oldest first; no command in dom0 is needed for it. */
  ticks(name: string): readonly number[] {
    const log = `${this.dom0.folder}/log/console/guest-${name}.log`;
    return existsSync(log) ? ticksIn(readFileSync(log, 'latin1')) : [];
  }

  /**
   * The same, cut where the counter did not go on: [[1, 2, 3, 4], [3, 4, 5], [9, 10]] says that the guest was reverted to its
   * tick 2, and then to its tick 8 of another branch.
   */
  tickRuns(name: string): readonly (readonly number[])[] {
    const runs: number[][] = [];
    let last: number | undefined;
    for (const tick of this.ticks(name)) {
      if (last === undefined || tick !== last + 1) runs.push([]);
      runs.at(-1)?.push(tick);
      last = tick;
    }
    return runs;
  }

  /** Waits until the condition holds for the guest's ticks. */
  async waitForTicks(
    name: string,
    condition: (ticks: readonly number[]) => boolean,
    timeoutMs = TICK_TIMEOUT_MS,
  ): Promise<readonly number[]> {
    for (const deadline = Date.now() + timeoutMs; ; await sleep(POLL_MS)) {
      const ticks = this.ticks(name);
      if (condition(ticks)) return ticks;
      if (Date.now() > deadline)
        throw new Error(
          `guest ${name} stands at tick ${ticks.at(-1) ?? 'none'} after ${timeoutMs} ms; logs: ${this.dom0.folder}/log`,
        );
    }
  }

  /** Waits until the counter stands at `tick` or past it. After a revert it may stand there already: then look at `tickRuns`. */
  waitForTick(name: string, tick: number, timeoutMs?: number): Promise<readonly number[]> {
    return this.waitForTicks(name, (ticks) => (ticks.at(-1) ?? 0) >= tick, timeoutMs);
  }

  /** The count at the start of a disk image, also while a guest writes to it. */
  async diskCount(path: string): Promise<number> {
    return Number(await this.must(line('disk_count', path)));
  }
}

/** For the top of a lab test file: the host that global-setup.mjs booted, from the first test of the file to its last, and then `atEnd`. */
export function useLab(atEnd: (lab: Lab) => Promise<unknown> = async () => {}): () => Lab {
  jest.setTimeout(LAB_TEST_TIMEOUT_MS);
  let lab: Lab | undefined;
  beforeAll(async () => {
    const place = process.env.XLSNAP_LAB;
    if (place === undefined) throw new Error('no lab host: run this by jest --selectProjects lab');
    lab = new Lab(await Dom0.connect(JSON.parse(place) as LabPlace));
  });
  afterAll(async () => {
    try {
      if (lab) await atEnd(lab);
    } finally {
      lab?.dom0.close();
    }
  });
  return () => {
    if (lab === undefined) throw new Error('the lab is there from beforeAll on');
    return lab;
  };
}
