/** Calls back when domains come and go, and when configuration files change. Nothing is polled. */

import { type ChildProcess, spawn } from 'node:child_process';
import { type FSWatcher, watch } from 'node:fs';
import { missingProgram, type Program } from '../../disks/program.ts';

/** Ends with xlsnapd: its standard output is a pipe that nobody reads any more then. */
const XENSTORE_WATCH: Program = { name: 'xenstore-watch', debianPackage: 'xenstore-utils' };
/** Xen's own watches: a domain was made; one has shut down, or is gone. */
const CHANGES = ['@introduceDomain', '@releaseDomain'];
const RESTART_MS = 5_000;
/** Editors write a file in several steps. */
const SETTLE_MS = 100;

/** What is watched, and who is notified. */
export interface WatchesOptions {
  /** Some may not exist. */
  readonly folders: readonly string[];
  readonly changed: () => void;
  readonly log: (text: string) => void;
}

/** The watches of a host, until disposed of. */
export class Watches implements Disposable {
  readonly #options: WatchesOptions;
  readonly #program: Program;
  readonly #files: readonly FSWatcher[];
  #child: ChildProcess | undefined;
  #settling: NodeJS.Timeout | undefined;
  #restarting: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(options: WatchesOptions, program: Program = XENSTORE_WATCH) {
    this.#options = options;
    this.#program = program;
    this.#files = options.folders.flatMap((folder) => this.#watch(folder));
    this.#start();
  }

  [Symbol.dispose](): void {
    this.#ended = true;
    clearTimeout(this.#settling);
    clearTimeout(this.#restarting);
    this.#child?.kill();
    for (const watcher of this.#files) watcher.close();
  }

  #watch(folder: string): readonly FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#settle());
      // The folder may go.
      watcher.on('error', () => {});
      return [watcher];
    } catch {
      return [];
    }
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#options.changed(), SETTLE_MS).unref();
  }

  #start(): void {
    const child = spawn(this.#program.name, CHANGES, { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#child = child;
    let failure = `${this.#program.name} has ended`;
    child.stdout.on('data', () => this.#options.changed());
    child.once('error', () => {
      failure = missingProgram(this.#program);
    });
    child.once('close', () => {
      if (this.#ended) return;
      this.#options.log(`clients are not notified of guests that start and end by xl until it runs again: ${failure}`);
      this.#restarting = setTimeout(() => this.#start(), RESTART_MS).unref();
    });
    child.unref();
  }
}
