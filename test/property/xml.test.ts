import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LibvirtError } from '../../src/errors.ts';
import { element, type XmlElement, type XmlNode } from '../../src/model/element.ts';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { writeElement } from '../../src/xml/engine/write.ts';
import { readSnapshot, readSnapshotRequest } from '../../src/xml/snapshot/read.ts';
import { text, trees } from '../support/xml/any-tree.ts';

const metadata = trees.map((tree) => element('domain', {}, [element('metadata', {}, [tree])]));

const onlyLibvirtErrors = (read: () => unknown): void => {
  try {
    read();
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
  }
};

const readAll = (given: string): void => {
  onlyLibvirtErrors(() => parseXml(given, 'domain_snapshot'));
  onlyLibvirtErrors(() => readSnapshotRequest(given, { offline: false, now: 1n }));
  onlyLibvirtErrors(() => readSnapshot(given, { internal: true }));
};

test('reading gives back what was written', () => {
  fc.assert(fc.property(trees, (tree) => expect(parseXml(writeElement(tree), 'domain_snapshot')).toEqual(tree)));
});

test('reading gives back what was written as metadata', () => {
  fc.assert(fc.property(metadata, (tree) => expect(parseXml(writeElement(tree), 'domain_snapshot')).toEqual(tree)));
});

describe('whatever is read, nothing but a LibvirtError comes of it', () => {
  test('any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), readAll));
  });

  test('any UTF-16, lone surrogates too', () => {
    const units = fc.array(fc.integer({ min: 0, max: 0xffff })).map((codes) => String.fromCharCode(...codes));
    fc.assert(fc.property(units, readAll));
  });

  test('pieces of markup in any order', () => {
    const pieces = fc.constantFrom(
      ...[
        '<',
        '>',
        '</',
        '/>',
        '<domainsnapshot>',
        '</domainsnapshot>',
        '<name>',
        '</name>',
        "<disk name='a'",
        "'",
        '"',
      ],
      ...[
        '&amp;',
        '&#',
        '&#x10ffff;',
        '&x;',
        '<!--',
        '-->',
        '<![CDATA[',
        ']]>',
        '<?',
        '?>',
        '<!DOCTYPE a [',
        ']>',
        '\0',
      ],
      ...['\n', '\r', ' ', 'x:', 'xmlns', '=', '\ud83d', 'é', '<?xml version="1.0" encoding="UTF-16"?>'],
    );
    fc.assert(
      fc.property(
        fc.array(pieces, { maxLength: 30 }).map((parts) => parts.join('')),
        readAll,
      ),
      { numRuns: 500 },
    );
  });

  test('any elements where a snapshot has its own', () => {
    const tags = fc.constantFrom(
      ...['name', 'state', 'creationTime', 'memory', 'disks', 'disk', 'source', 'driver', 'host', 'auth', 'secret'],
      ...['encryption', 'cipher', 'ivgen', 'slices', 'slice', 'seclabel', 'label', 'reservations', 'metadata_cache'],
      ...['max_size', 'cookies', 'cookie', 'domain', 'os', 'type', 'uuid', 'active', 'parent', 'revertDisks'],
    );
    const names = fc.constantFrom(
      'name',
      'snapshot',
      'type',
      'file',
      'dev',
      'protocol',
      'port',
      'unit',
      'size',
      'managed',
    );
    const values = fc.oneof(
      text,
      fc.constantFrom(
        'external',
        'internal',
        'network',
        'block',
        'file',
        'rbd',
        'https',
        'yes',
        '/a',
        'a/b',
        '-1',
        '12',
      ),
    );
    const soup: fc.Arbitrary<XmlElement> = fc.letrec<{ tree: XmlElement }>((tie) => ({
      tree: fc
        .tuple(
          tags,
          fc.dictionary(names, values, { maxKeys: 3 }),
          fc.oneof(
            { maxDepth: 5 },
            values.map((given): XmlNode[] => [given]),
            fc.array<XmlNode>(tie('tree'), { maxLength: 5 }),
          ),
        )
        .map(([tag, attrs, children]) => element(tag, attrs, children)),
    })).tree;
    const documents = fc
      .array(soup, { maxLength: 8 })
      .map((children) =>
        writeElement(
          element('domainsnapshot', {}, [
            element('name', {}, ['n']),
            element('creationTime', {}, ['1']),
            element('state', {}, ['running']),
            ...children,
          ]),
        ),
      );
    fc.assert(fc.property(documents, readAll), { numRuns: 500 });
  });
});
