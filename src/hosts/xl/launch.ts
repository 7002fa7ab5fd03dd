/** Ends and starts domains for reverts, by xl: the monitor of the new domain is xl's own, as after `xl create`. */

import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LibvirtError } from '../../errors.ts';
import { readMemoryImage } from '../../memory/image-file.ts';
import { type DomainDefinition, type DomainRef, isActive, REASONS } from '../../model/domain.ts';
import { LIFECYCLE } from '../../model/events.ts';
import { domainName } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { asConfig, type XlConfig } from '../../xml/xl/config.ts';
import { configOfDomainXml } from '../../xml/xl/domain.ts';
import { requireFile, startFromFile } from './domain-api.ts';
import type { XlDomains } from './domains.ts';
import { dropSaved } from './xendomains.ts';
import type { Xl } from './xl.ts';
import { feed } from './xl-image.ts';

/** Xen frees the memory of a large guest in less. */
const DESTROY_TIMEOUT_MS = 60_000;
const DESTROY_POLL_MS = 50;
const PIPE_BYTES = 1 << 20;
/** The image comes from a pipe. */
const STDIN = '/dev/stdin';

/** Makes a pipe whose ends programs do not inherit. */
export type PipeOf = (bytes: number) => { readonly reader: number; readonly writer: number };

interface XlLauncherOptions {
  readonly domains: XlDomains;
  readonly xl: Xl;
  readonly pipe: PipeOf;
  /** Of xendomains. */
  readonly saveFolder: string;
  readonly log: (text: string) => void;
}

/** How a domain comes back. */
interface As {
  readonly paused: boolean;
  readonly definition: DomainDefinition;
}

/** Host.destroy, Host.restore and Host.start. */
export class XlLauncher {
  readonly #domains: XlDomains;
  readonly #xl: Xl;
  readonly #pipe: PipeOf;
  readonly #saveFolder: string;
  readonly #log: (text: string) => void;

  constructor({ domains, xl, pipe, saveFolder, log }: XlLauncherOptions) {
    this.#domains = domains;
    this.#xl = xl;
    this.#pipe = pipe;
    this.#saveFolder = saveFolder;
    this.#log = log;
  }

  async destroy(ref: DomainRef): Promise<void> {
    await this.#domains.alone(ref, async () => {
      const { ref: now } = await this.#domains.findActive(ref);
      await this.#xl.change(['destroy', String(now.id)], `Failed to destroy domain '${now.name}' with xl`);
      for (
        const end = performance.now() + DESTROY_TIMEOUT_MS;
        await this.#isActive(now);
        await sleep(DESTROY_POLL_MS)
      ) {
        if (performance.now() < end) continue;
        throw new LibvirtError('OPERATION_TIMEOUT', `domain '${now.name}' (${now.id}) is not gone after xl destroy`);
      }
    });
    this.#domains.emit({ ...ref, id: -1 }, LIFECYCLE.STOPPED_FROM_SNAPSHOT);
  }

  /** What xendomains has saved is dropped. */
  async restore(ref: DomainRef, path: string, { paused, definition }: As): Promise<void> {
    await this.#domains.alone(ref, async () => {
      await dropSaved(this.#saveFolder, ref.name);
      await this.#restore(path, { paused, definition });
    });
    const { ref: restored } = await this.#domains.setReason(
      ref,
      paused ? REASONS.paused.fromSnapshot : REASONS.running.fromSnapshot,
    );
    this.#domains.emit(restored, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    this.#domains.emit(restored, paused ? LIFECYCLE.SUSPENDED_FROM_SNAPSHOT : LIFECYCLE.RESUMED_FROM_SNAPSHOT);
  }

  async start(ref: DomainRef, { paused }: As): Promise<void> {
    const started = await this.#domains.alone(ref, async () => {
      const domain = await this.#domains.find(ref);
      await dropSaved(this.#saveFolder, ref.name);
      await startFromFile(this.#xl, domain, { paused });
      return (await this.#domains.find(ref)).ref;
    });
    if (!paused) this.#domains.emit(started, LIFECYCLE.RESUMED_UNPAUSED);
    this.#domains.emit(started, LIFECYCLE.STARTED_FROM_SNAPSHOT);
    if (paused) this.#domains.emit(started, LIFECYCLE.SUSPENDED_FROM_SNAPSHOT);
  }

  /** Refuses (55) to boot what xl would not boot like this: a domain without a file, or with other disks in it. */
  async checkBoot(ref: DomainRef, definition: DomainDefinition): Promise<void> {
    const domain = await this.#domains.find(ref);
    const { path } = requireFile(domain);
    const other = await this.#otherDisk(domain, definition);
    if (other === undefined) return;
    throw new LibvirtError(
      'OPERATION_INVALID',
      `'${path}' has changed since the snapshot: ${other}; change it back first`,
    );
  }

  /** The files are the user's: one that names other images than the domain has after a revert is reported, not changed. */
  async reportOtherDisks(definition: DomainDefinition): Promise<void> {
    const name = domainName(definition.element);
    const domain = (await this.#domains.all()).find(({ ref }) => ref.name === name);
    const other = domain?.configured && (await this.#otherDisk(domain, definition));
    if (other !== undefined) this.#log(`'${domain?.configured?.paths[0]}' has changed since the snapshot: ${other}`);
  }

  async #otherDisk(
    domain: Awaited<ReturnType<XlDomains['find']>>,
    { images }: DomainDefinition,
  ): Promise<string | undefined> {
    const { images: now } = await this.#domains.definition(domain, 'persistent');
    for (const target of new Set([...images.keys(), ...now.keys()])) {
      const [then, named] = [images.get(target)?.path, now.get(target)?.path];
      if (then !== named) return `disk '${target}' is on ${shown(named)} there, and was on ${shown(then)}`;
    }
    return undefined;
  }

  async #restore(path: string, { paused, definition }: As): Promise<void> {
    const { streamOffset } = await readMemoryImage(path);
    const config = configOfDefinition(definition);
    const { reader, writer } = this.#pipe(PIPE_BYTES);
    const failure = `Failed to restore domain '${domainName(definition.element)}' with xl`;
    const restored = this.#xl.change(['restore', ...(paused ? ['-p'] : []), STDIN], failure, reader);
    // xl has its own by now: when it ends, nobody reads from the pipe any more.
    closeSync(reader);
    const fed = feed({ path, offset: streamOffset, config }, writer);
    const [restoring, feeding] = await Promise.allSettled([restored, fed]);
    if (feeding.status === 'rejected') throw feeding.reason;
    if (restoring.status === 'rejected') throw restoring.reason;
  }

  async #isActive(ref: DomainRef): Promise<boolean> {
    return (await this.#domains.all()).some((domain) => isActive(domain) && domain.ref.id === ref.id);
  }
}

const shown = (path: string | undefined): string => (path === undefined ? 'no image' : `'${path}'`);

/** Returns the config that a definition keeps. Refuses (55) one of a guest that xl has not started. */
export function configOfDefinition({ element }: DomainDefinition): XlConfig {
  try {
    return asConfig(configOfDomainXml(writeElement(element)), `the config of domain '${domainName(element)}'`);
  } catch (cause) {
    const text =
      `the snapshot of domain '${domainName(element)}' was taken behind libvirtd, and has no configuration for xl: revert to ` +
      'it where libvirtd runs';
    throw new LibvirtError('OPERATION_INVALID', text, { cause });
  }
}
