/**
 * The domains that xl's configuration files name. xl itself reads the files (`xl create -n`), so they mean what they mean to
 * xl; each is read again when it has changed.
 */

import { createHash } from 'node:crypto';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import { asConfig, type XlConfig } from '../../xml/xl/config.ts';
import type { Xl } from './xl.ts';

/** Links to the files of the domains that xendomains starts with the host. */
const AUTO = '/etc/xen/auto';
/** The folders in which files are looked for if nothing else is said. */
export const CONFIG_FOLDERS = ['/etc/xen', AUTO] as const;

/** For group or others. */
const WRITABLE = 0o022;

/** A domain that a file configures. */
export interface ConfiguredDomain {
  readonly name: string;
  /** The `uuid=` of the file, or one made of the name. */
  readonly uuid: string;
  /** Real paths; two if two files name the same domain. */
  readonly paths: readonly string[];
  /** As xl reads it, with this UUID. */
  readonly config: XlConfig;
  readonly autostart: boolean;
}

interface ReadFile {
  /** Changes if the file does. */
  readonly version: string;
  /** Absent if it cannot be used. */
  readonly config?: XlConfig;
}

/** The configured domains of one host. */
export class ConfigFiles {
  readonly #xl: Xl;
  readonly #folders: readonly string[];
  readonly #log: (text: string) => void;
  /** By real path. */
  #read = new Map<string, ReadFile>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(xl: Xl, folders: readonly string[], log: (text: string) => void) {
    this.#xl = xl;
    this.#folders = folders;
    this.#log = log;
  }

  /** Folders that may hold files; some may not exist. */
  get folders(): readonly string[] {
    return this.#folders;
  }

  /** Reads what has changed since the last call. A file that cannot be used is logged once, and left out. */
  list(): Promise<readonly ConfiguredDomain[]> {
    const listed = this.#turn.then(() => this.#list());
    this.#turn = listed.catch(() => {});
    return listed;
  }

  async #list(): Promise<readonly ConfiguredDomain[]> {
    const found = await this.#paths();
    const read = new Map<string, ReadFile>();
    for (const path of found.keys()) {
      const file = await this.#file(path).catch((error) => {
        this.#log(asLibvirtError(error).message);
        return undefined;
      });
      if (file) read.set(path, file);
    }
    this.#read = read;
    const byName = new Map<string, ConfiguredDomain>();
    for (const [path, { config }] of read) {
      const name = config?.c_info.name;
      if (!config || name === undefined) continue;
      const known = byName.get(name);
      const uuid = config.c_info.uuid ?? uuidOfName(name);
      byName.set(name, {
        name,
        uuid: known?.uuid ?? uuid,
        paths: [...(known?.paths ?? []), path],
        config: known?.config ?? { ...config, c_info: { ...config.c_info, uuid } },
        autostart: known?.autostart === true || found.get(path) === true,
      });
    }
    return [...byName.values()];
  }

  /** Real paths of the files, each with whether it is in AUTO. */
  async #paths(): Promise<ReadonlyMap<string, boolean>> {
    const paths = new Map<string, boolean>();
    for (const folder of this.#folders) {
      const names = await readdir(folder).catch(() => []);
      for (const name of names.toSorted()) {
        if (folder !== AUTO && !name.endsWith('.cfg')) continue;
        const path = await realpath(join(folder, name)).catch(() => undefined);
        if (path !== undefined) paths.set(path, folder === AUTO || paths.get(path) === true);
      }
    }
    return paths;
  }

  async #file(path: string): Promise<ReadFile | undefined> {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (!found?.isFile()) return undefined;
    const { dev, ino, mtimeNs, ctimeNs, size } = found;
    const version = [dev, ino, mtimeNs, ctimeNs, size].join(' ');
    const known = this.#read.get(path);
    if (known?.version === version) return known;
    try {
      checkOwner(path, { uid: Number(found.uid), mode: Number(found.mode) });
      return { version, config: await this.#parse(path) };
    } catch (error) {
      this.#log(`${asLibvirtError(error).detail}: the domain that it configures is left out`);
      return { version };
    }
  }

  async #parse(path: string): Promise<XlConfig> {
    const failure = `xl cannot read '${path}'`;
    const printed = await this.#xl.ask(['create', '-n', '-q', path], failure);
    const json = printed.slice(Math.max(printed.indexOf('{'), 0));
    let config: XlConfig;
    try {
      config = asConfig(JSON.parse(json), `what xl prints of '${path}'`);
    } catch (cause) {
      throw new LibvirtError('OPERATION_FAILED', `${failure}: ${(cause as Error).message}`, { cause });
    }
    if (await this.#hasUuid(path, config)) return config;
    const { uuid: _, ...c_info } = config.c_info;
    return { ...config, c_info };
  }

  /** xl makes a new UUID each time for a file without one. */
  async #hasUuid(path: string, { c_info }: XlConfig): Promise<boolean> {
    const again = await this.#xl.ask(['create', '-n', '-q', path], `xl cannot read '${path}'`);
    return c_info.uuid !== undefined && again.includes(c_info.uuid);
  }
}

/** xl runs programs that a file names, as root: nobody else may write to the file. */
function checkOwner(path: string, { uid, mode }: { readonly uid: number; readonly mode: number }): void {
  const own = process.geteuid?.() ?? 0;
  if ((uid === 0 || uid === own) && (mode & WRITABLE) === 0) return;
  throw new LibvirtError('OPERATION_DENIED', `'${path}' can be written by others than root (chown root, chmod go-w)`);
}

/** The namespace of the UUIDs that are made of names (RFC 4122, version 5). */
const NAMESPACE = Buffer.from('5d2a7f6e0c1b4c83b7e0a4d19a6f3b52', 'hex');

/** Returns the same UUID for a name each time: libvirt's clients know domains by it. */
export function uuidOfName(name: string): string {
  const hash = createHash('sha1').update(NAMESPACE).update(name).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
