/**
 * libvirt's own files of snapshots, `<snapshot dir>/<domain>/<snapshot>.xml`: read and written as its qemu driver does
 * (qemuDomainSnapshotLoad, qemuDomainSnapshotWriteMetadata), so that a libvirt with this driver could read them, too.
 */

import { join } from 'node:path';
import { asLibvirtError, LibvirtError } from '../errors.ts';
import type { DomainRef } from '../model/domain.ts';
import type { SnapshotDef, SnapshotEntry } from '../model/snapshot.ts';
import type { SnapshotStore, StoredSnapshots } from '../snapshots/ports/store.ts';
import { readSnapshot, readSnapshotEntry } from '../xml/snapshot/read.ts';
import { writeSnapshot } from '../xml/snapshot/write.ts';
import {
  makeOwnFolder,
  refuseLink,
  removeEmptyFolder,
  removeFile,
  renameFolder,
  UNFINISHED,
  writeFileAtomically,
} from './atomic-file.ts';
import { Documents } from './documents.ts';
import { LOCK_FILE } from './folder-lock.ts';
import { pathSegment } from './path-segment.ts';
import { isReplacement, listFolder, MAX_FILE_BYTES, readStored, texts, uuidIn } from './stored-texts.ts';

const FOLDER_MODE = 0o777;

const HEADER = `<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh snapshot-edit
or other application using the libvirt API.
-->

`;

type Log = (text: string) => void;

/** SnapshotStore in libvirt's files. */
export class SnapshotFiles implements SnapshotStore {
  readonly #dir: string;
  readonly #log: Log;
  /** The file of each snapshot: domain name → snapshot name → file name. A snapshot's name is the one inside its file. */
  readonly #files = new Map<string, Map<string, string>>();
  readonly #documents = new Documents();

  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#log = log;
  }

  /**
   * Reads every file of the domain's folder, whatever its name. Of several with one snapshot name the first counts, by
   * file name.
   */
  async load(domain: DomainRef): Promise<StoredSnapshots> {
    const folder = this.#folder(domain);
    const names = await this.#listOwn(folder);
    for (const file of names.filter((name) => isReplacement(name, names))) {
      await removeFile(join(folder, file)).catch((error) => this.#log(asLibvirtError(error).message));
    }
    const { claimants, ...stored } = await this.#read(domain, names);
    if (claimants.length > 1) {
      this.#log(`internal error: Too many snapshots claiming to be current for domain ${domain.name}`);
    }
    return stored;
  }

  /**
   * Returns what `load` returns, without removing anything: for programs that read while the daemon runs. `claimants`:
   * names of the snapshots whose files claim to be current.
   */
  async look(domain: DomainRef): Promise<StoredSnapshots & { readonly claimants: readonly string[] }> {
    return await this.#read(domain, await this.#listOwn(this.#folder(domain)));
  }

  async #read(
    domain: DomainRef,
    names: readonly string[],
  ): Promise<StoredSnapshots & { readonly claimants: readonly string[] }> {
    const folder = this.#folder(domain);
    const files = new Map<string, string>();
    const entries: SnapshotEntry[] = [];
    const claimants: SnapshotEntry[] = [];
    const whole = names.filter((name) => !isReplacement(name, names));
    for await (const [file, text] of texts(folder, whole)) {
      const stored = this.#tryRead(join(folder, file), text);
      if (!stored) continue;
      const { entry, current } = stored;
      if (files.has(entry.name)) {
        this.#log(`operation failed: domain moment ${entry.name} already exists: ignored '${join(folder, file)}'`);
        continue;
      }
      files.set(entry.name, file);
      entries.push(entry);
      if (current) claimants.push(entry);
    }
    this.#files.set(domain.name, files);
    this.#documents.forgetAll();
    const current = newestOf(claimants);
    return { entries, ...(current && { current: current.name }), claimants: claimants.map(({ name }) => name) };
  }

  async read(domain: DomainRef, name: string): Promise<SnapshotDef> {
    const path = join(this.#folder(domain), this.#fileOf(domain, name));
    const text = await readStored(path);
    const { snapshot } = readSnapshot(text, { internal: true });
    if (snapshot.name === name) return snapshot;
    throw new LibvirtError(
      'INTERNAL_ERROR',
      `file '${path}' now holds snapshot '${snapshot.name}' of domain '${domain.name}', not '${name}'`,
    );
  }

  describe(domain: DomainRef, name: string, secure: boolean): Promise<string> {
    return this.#documents.get(documentKey(domain, name, secure), async () =>
      writeSnapshot(await this.read(domain, name), { secure, uuid: domain.uuid }),
    );
  }

  async write(domain: DomainRef, snapshot: SnapshotDef, current: boolean): Promise<void> {
    const file = ownFile(snapshot.name);
    const text = this.#text(domain, snapshot, current);
    try {
      await makeOwnFolder(this.#folder(domain), FOLDER_MODE);
      await writeFileAtomically(join(this.#folder(domain), file), text);
    } catch (error) {
      const { message } = asLibvirtError(error);
      throw new LibvirtError(
        'INTERNAL_ERROR',
        `unable to save metadata for snapshot ${snapshot.name} of domain '${domain.name}': ${message}`,
        { cause: error },
      );
    } finally {
      this.#forget(domain, snapshot.name);
    }
    this.#filesOf(domain).set(snapshot.name, file);
  }

  check(domain: DomainRef, snapshot: SnapshotDef): void {
    this.#text(domain, snapshot, true);
  }

  /**
   * Removes `<snapshot>.xml`. If the snapshot was read from a file of another name, that file stays, as in libvirt. A file whose
   * removal may not survive a crash comes back: until it is gone for good the snapshot is listed, and a delete reads it again.
   */
  async remove(domain: DomainRef, name: string): Promise<void> {
    const files = this.#filesOf(domain);
    const file = ownFile(name);
    if (![...files].some(([other, of]) => other !== name && of === file)) {
      const path = join(this.#folder(domain), file);
      const text = await readStored(path).catch(() => undefined);
      await removeFile(path).catch(async (error) => {
        if (text !== undefined) await writeFileAtomically(path, text).catch(() => undefined);
        throw error;
      });
      await removeFile(`${path}${UNFINISHED}`);
    }
    files.delete(name);
    this.#forget(domain, name);
    await removeEmptyFolder(this.#folder(domain));
  }

  async rename(from: DomainRef, to: DomainRef): Promise<void> {
    await renameFolder(this.#folder(from), this.#folder(to));
    this.#files.set(to.name, this.#filesOf(from));
    this.#files.delete(from.name);
  }

  /** Renames folders that have no domain's name to the name of the domain whose UUID is in their documents. */
  async adopt(domains: readonly DomainRef[]): Promise<void> {
    const names = new Set(domains.map(({ name }) => name));
    for (const folder of await listFolder(this.#dir)) {
      if (folder === LOCK_FILE) continue;
      if (names.has(folder)) continue;
      const uuid = await uuidIn(join(this.#dir, folder));
      const domain = domains.find((known) => known.uuid === uuid);
      if (!domain) continue;
      await this.rename({ ...domain, name: folder }, domain).catch((error) => this.#log(asLibvirtError(error).message));
    }
  }

  /** Treats a symbolic link in place of a folder as empty, and logs it. */
  async #listOwn(folder: string): Promise<readonly string[]> {
    const link = await refuseLink(folder).catch(asLibvirtError);
    if (!link) return await listFolder(folder);
    this.#log(link.message);
    return [];
  }

  #tryRead(path: string, text: string | LibvirtError): ReturnType<typeof readSnapshotEntry> | undefined {
    if (text instanceof LibvirtError) {
      this.#log(text.message);
      return undefined;
    }
    try {
      return readSnapshotEntry(text);
    } catch (error) {
      const { message } = asLibvirtError(error);
      this.#log(`internal error: Failed to parse snapshot XML from file '${path}': ${message}`);
      return undefined;
    }
  }

  #forget(domain: DomainRef, name: string): void {
    this.#documents.forget(documentKey(domain, name, false), documentKey(domain, name, true));
  }

  /** Returns the stored document. Refuses one that is longer than libvirt reads. */
  #text(domain: DomainRef, snapshot: SnapshotDef, current: boolean): string {
    const text = HEADER + writeSnapshot(snapshot, { secure: true, current, uuid: domain.uuid });
    const bytes = Buffer.byteLength(text);
    if (bytes <= MAX_FILE_BYTES) return text;
    throw new LibvirtError(
      'OPERATION_FAILED',
      `the description of snapshot '${snapshot.name}' of domain '${domain.name}' is too long: ` +
        `${bytes} bytes of XML, and libvirt reads ${MAX_FILE_BYTES} at most`,
    );
  }

  #folder(domain: DomainRef): string {
    return join(this.#dir, pathSegment(domain.name));
  }

  #filesOf(domain: DomainRef): Map<string, string> {
    const known = this.#files.get(domain.name) ?? new Map<string, string>();
    this.#files.set(domain.name, known);
    return known;
  }

  #fileOf(domain: DomainRef, name: string): string {
    return this.#files.get(domain.name)?.get(name) ?? ownFile(name);
  }
}

function ownFile(name: string): string {
  return pathSegment(`${name}.xml`);
}

/** Documents do not contain the domain's name, so a renamed domain keeps them. */
function documentKey({ uuid }: DomainRef, name: string, secure: boolean): string {
  return `${uuid} ${secure} ${name}`;
}

/**
 * If a crash left several marked as current: returns the one that is no other's parent; of several, the last. (libvirt
 * takes the last one that it happens to read.)
 */
function newestOf(claimants: readonly SnapshotEntry[]): SnapshotEntry | undefined {
  const parents = new Set(claimants.map(({ parent }) => parent));
  return claimants.findLast(({ name }) => !parents.has(name)) ?? claimants.at(-1);
}
