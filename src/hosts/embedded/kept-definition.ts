/** The definition of the domain that is there from the start, kept between runs: its disk may stand on overlays by then. */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DomainDefinition } from '../../model/domain.ts';
import { parseDefinition } from '../../xml/domain/definition.ts';
import { domainUuid } from '../../xml/domain/domain.ts';
import { writeElement } from '../../xml/engine/write.ts';
import { DEFAULT_UUID } from './definitions.ts';

export class KeptDefinition {
  readonly #path: string;
  readonly #first: string;

  /** `first`: what it is on a host without a past. */
  constructor(folder: string, first: DomainDefinition) {
    this.#path = join(folder, 'definition.xml');
    this.#first = writeElement(first.element);
  }

  /** Undefined where there is none, or none that can be read. */
  read(): DomainDefinition | undefined {
    try {
      const definition = parseDefinition(readFileSync(this.#path, 'utf8'));
      return domainUuid(definition.element) === DEFAULT_UUID ? definition : undefined;
    } catch {
      return undefined;
    }
  }

  /** Of any other domain nothing is kept. */
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
