import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { LibvirtError } from '../../src/errors.ts';
import { element, type XmlElement, type XmlNode } from '../../src/model/element.ts';
import { parseXml } from '../../src/xml/engine/parse.ts';
import { writeElement } from '../../src/xml/engine/write.ts';
import { readSnapshot, readSnapshotRequest } from '../../src/xml/snapshot/read.ts';

/** What XML can hold and libvirt's escaping keeps: no control characters but line end and tab, no lone surrogates. */
const text = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .map((value) => value.replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, ''));

const name = fc.constantFrom('a', 'disk', 'source', 'x:y', 'devices', 'encryption', '_n-1.z');
/** libvirt leaves blanks of attributes as they are, and a parser then makes them blanks (XML 1.0 §3.3.3). */
const value = text.map((given) => given.replace(/[\t\n]/g, ' '));
const attributes = fc.dictionary(fc.constantFrom('b', 'c', 'type', 'dev'), value, {
  maxKeys: 3,
  noNullPrototype: true,
});

/** Blanks alone in these two are libvirt's way to print them empty. */
const hasBlankSection = ({ name: tag, children }: XmlElement): boolean =>
  (['devices', 'encryption'].includes(tag) && children.some((child) => typeof child === 'string' && !child.trim())) ||
  children.some((child) => typeof child !== 'string' && hasBlankSection(child));

/** Trees as parseXml gives them: text alone, or elements alone. */
const trees: fc.Arbitrary<XmlElement> = fc
  .letrec<{ tree: XmlElement; children: readonly XmlNode[] }>((tie) => ({
    children: fc.oneof(
      { maxDepth: 4 },
      fc.constant([]),
      text.map((given) => (given === '' ? [] : [given])),
      fc.array(tie('tree'), { maxLength: 3 }),
    ),
    tree: fc.tuple(name, attributes, tie('children')).map(([tag, attrs, children]) => element(tag, attrs, children)),
  }))
  .tree.filter((tree) => !hasBlankSection(tree));

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
