/** What we write, and what we read, means the same to a parser that is not libxml2. */

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { writeElement } from '../../src/xml/engine/write.ts';
import { readSnapshot } from '../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../src/xml/snapshot/write.ts';
import { simpleSnapshots } from '../support/xml/any-snapshot.ts';
import { trees } from '../support/xml/any-tree.ts';
import { readWithSecondReader, withoutBlanks } from '../support/xml/second-reader.ts';

const ROOT = resolve(import.meta.dirname, '../..');

test('any tree that we write', () => {
  fc.assert(
    fc.property(trees, (tree) => {
      expect(withoutBlanks(readWithSecondReader(writeElement(tree)))).toEqual(withoutBlanks(tree));
    }),
    { numRuns: 300 },
  );
});

test('any snapshot that we write, read by the one and written again for the other', () => {
  fc.assert(
    fc.property(simpleSnapshots, (snapshot) => {
      const written = writeSnapshot(snapshot, { secure: true, current: true });
      const read = readWithSecondReader(written);
      expect(withoutBlanks(read)).toEqual(withoutBlanks(parseXml(written, 'domain_snapshot')));
      expect(readSnapshot(writeElement(withoutBlanks(read)), { internal: true }).snapshot).toEqual(snapshot);
    }),
    { numRuns: 200 },
  );
});

describe('documents that others have written', () => {
  const CORPUS = join(ROOT, '../shared/corpus');
  const inFolder = (folder: string, end: RegExp): readonly string[] =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => end.test(file))
      .map((file) => join(folder, file));
  const sources = JSON.parse(readFileSync(join(ROOT, 'fixtures/xml/disk-sources.json'), 'utf8')) as readonly {
    readonly disk: string;
  }[];
  const fragments = sources.map(({ disk }) => disk);
  const files = [...inFolder(join(ROOT, 'schemas'), /\.(?:xml|rng)$/), ...inFolder(CORPUS, /\.xml$/)].map((file) =>
    readFileSync(file, 'utf8'),
  );

  test('are read the same', () => {
    const read = [...files, ...fragments].filter((text) => !text.includes('<!DOCTYPE'));
    let compared = 0;
    for (const text of read) {
      let ours: ReturnType<typeof parseXml>;
      try {
        ours = parseXml(text, 'domain_snapshot');
      } catch {
        // Documents that have to be refused; fast-xml-parser takes most of them.
        continue;
      }
      compared += 1;
      expect(withoutBlanks(readWithSecondReader(text))).toEqual(withoutBlanks(ours));
    }
    expect(compared).toBeGreaterThan(100);
  });
});
