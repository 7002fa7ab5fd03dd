/** Keeps the definition of the domain `test` between runs of the host: its disk may be on overlays. */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DomainDefinition } from '../../model/domain.ts';
import { parseDefinition } from '../../xml/domain/definition.ts';
import { domainUuid } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { DEFAULT_UUID } from './definitions.ts';

/** The file with that definition. It exists only while the definition differs from `first`. */
export class KeptDefinition {
  readonly #path: string;
  readonly #first: string;

  /** `first`: the definition on a fresh host. */
  constructor(folder: string, first: DomainDefinition) {
    this.#path = join(folder, 'definition.xml');
    this.#first = writeElement(first.element);
  }

  /** Returns undefined if there is no such file, or if it cannot be read. */
  read(): DomainDefinition | undefined {
    try {
      const definition = parseDefinition(readFileSync(this.#path, 'utf8'));
      return domainUuid(definition.element) === DEFAULT_UUID ? definition : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps nothing of other domains. */
  write(uuid: string, definition: DomainDefinition): void {
    if (uuid !== DEFAULT_UUID) return;
    const text = writeElement(definition.element);
    if (text === this.#first) {
      this.remove(uuid);
      return;
    }
    writeFileSync(`${this.#path}.new`, text, { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }

  remove(uuid: string): void {
    if (uuid === DEFAULT_UUID) rmSync(this.#path, { force: true });
  }
}
