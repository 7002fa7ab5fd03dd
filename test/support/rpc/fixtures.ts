/** fixtures/rpc/*.hex: messages as bytes, one field a line, with a comment that says what it is. */

import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const FOLDER = resolve(import.meta.dirname, '../../../fixtures/rpc');

export function rpcFixture(name: string): Buffer {
  const lines = readFileSync(resolve(FOLDER, `${name}.hex`), 'utf8').split('\n');
  return Buffer.from(
    lines
      .map((line) => line.replace(/#.*/, ''))
      .join('')
      .replaceAll(/\s/g, ''),
    'hex',
  );
}

export const rpcFixtureNames: readonly string[] = readdirSync(FOLDER).map((file) => file.replace(/\.hex$/, ''));
