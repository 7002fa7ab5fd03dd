/**
 * A Xen host without Xen: guests that a stand-in of xl starts and ends, and what libxl would say of them. The lab's tests
 * have the real ones.
 */

import { createReadStream, openSync, readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { LibvirtError } from '../../../src/errors.ts';
import type { Xl } from '../../../src/hosts/xl/xl.ts';
import type { DomainConfig, DomainName } from '../../../src/libxl/helper/protocol.ts';
import type { LibxlSession } from '../../../src/libxl/toolstack.ts';

/** In place of xl.cfg, files hold JSON: of a guest's name, and of the image of its disk. */
export const cfgOf = (name: string, image: string, uuid?: string): string => JSON.stringify({ name, image, uuid });

export class FakeXl implements Xl {
  /** Every call of xl that starts, ends or asks a guest. */
  readonly calls: string[] = [];
  /** Running guests by domid. */
  readonly guests = new Map<number, { info: DomainName; config: DomainConfig }>();
  /** What `xl restore` was given. */
  restored: Buffer | undefined;
  /** Thrown in place of the next change. */
  failure: LibvirtError | undefined;
  #lastId = 0;
  #made = 0;

  constructor() {
    this.guests.set(0, { info: { domid: 0, name: 'Domain-0', current_memkb: 1024, running: true }, config: {} });
  }

  async ask(args: readonly string[], failure: string): Promise<string> {
    const [command, ...rest] = args;
    if (command === 'create') return this.#dryRun(rest.at(-1) ?? '', failure);
    this.calls.push(args.join(' '));
    const id = Number(rest.at(-1));
    if (command === 'pause' || command === 'unpause') this.set(id, { paused: command === 'pause' });
    if (command === 'shutdown') this.guests.delete(id);
    return '';
  }

  async change(args: readonly string[], failure: string, stdin?: number): Promise<void> {
    this.calls.push(args.join(' '));
    if (this.failure) throw this.failure;
    const [command] = args;
    if (command === 'destroy') this.guests.delete(Number(args[1]));
    if (command === 'create') {
      const path = args.find((arg) => arg.startsWith('/')) ?? '';
      const config = JSON.parse(await this.#dryRun(path, failure));
      const uuid = /^uuid="(.*)"$/.exec(args.at(-1) ?? '')?.[1] ?? config.c_info.uuid;
      this.run({ ...config, c_info: { ...config.c_info, uuid } }, args.includes('-p'));
    }
    if (command === 'restore' && stdin !== undefined) {
      // A program that is started has a descriptor of its own from the start.
      const own = openSync(`/proc/self/fd/${stdin}`, 'r');
      const image = await buffer(createReadStream('', { fd: own }));
      this.restored = image;
      const json = image.subarray(52, image.indexOf(0, 52)).toString();
      this.run(JSON.parse(json), args.includes('-p'));
    }
  }

  /** A guest that runs from now on. Returns its domid. */
  run(config: DomainConfig, paused = false): number {
    const { name, uuid } = config.c_info as { name: string; uuid: string };
    this.#lastId += 1;
    const info = { domid: this.#lastId, name, uuid, current_memkb: 4096, vcpu_online: 1, cpu_time: 7, paused };
    this.guests.set(this.#lastId, { info, config });
    return this.#lastId;
  }

  set(domid: number, change: Partial<DomainName>): void {
    const guest = this.guests.get(domid);
    if (guest) guest.info = { ...guest.info, ...change };
  }

  readonly startHelper = (): LibxlSession =>
    ({
      listDomains: async () => [...this.guests.values()].map(({ info }) => info),
      domainConfig: async (domid: number) => {
        const guest = this.guests.get(domid);
        if (!guest) throw new LibvirtError('NO_DOMAIN', `no domain with matching id '${domid}'`);
        return guest.config;
      },
      [Symbol.asyncDispose]: async () => {},
    }) as Partial<LibxlSession> as LibxlSession;

  #dryRun(path: string, failure: string): Promise<string> {
    return Promise.resolve().then(() => {
      const text = readFileSync(path, 'utf8');
      if (!text.startsWith('{')) throw new LibvirtError('OPERATION_FAILED', `${failure}: config parsing error`);
      const { name, image, uuid } = JSON.parse(text) as { name: string; image: string; uuid?: string };
      this.#made += 1;
      // xl makes a UUID if the file has none.
      const made = `00000000-0000-4000-8000-${String(this.#made).padStart(12, '0')}`;
      return JSON.stringify({
        c_info: { type: 'pvh', name, uuid: uuid ?? made },
        b_info: { max_vcpus: 1, max_memkb: 4096, target_memkb: 4096 },
        disks: [{ pdev_path: image, vdev: 'xvda', backend: 'qdisk', format: 'qcow2', readwrite: 1 }],
      });
    });
  }
}
