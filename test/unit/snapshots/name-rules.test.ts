import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { asLibvirtError } from '../../../src/errors.ts';
import { alignDisks } from '../../../src/model/align-disks.ts';
import type { DomainDefinition, DomainDisk } from '../../../src/model/domain.ts';
import { checkBasePath, checkImagePath, checkInternalName, checkName } from '../../../src/snapshots/name-rules.ts';
import { definitionOf } from '../../../src/xml/domain/definition.ts';
import { parseXml } from '../../../src/xml/engine/parse.ts';
import { writeElement } from '../../../src/xml/engine/write.ts';

const definition = (type: string, os: string): DomainDefinition =>
  definitionOf(parseXml(`<domain type='${type}'><os><type>${os}</type></os></domain>`, 'domain_definition'));

const problemOf = (check: () => void): string | undefined => {
  try {
    check();
    return undefined;
  } catch (error) {
    return asLibvirtError(error).message;
  }
};

const overlay = (path: string, type: string, os: string): string | undefined =>
  problemOf(() => checkImagePath('overlay', { disk: 'xvda', path }, definition(type, os), 'ADVICE'));

test('a copy that a guest is to go over to has the same rules', () => {
  expect(
    problemOf(() =>
      checkImagePath('destination', { disk: 'xvda', path: '/a b' }, definition('xen', 'linux'), 'ADVICE'),
    ),
  ).toContain("destination '/a b' of disk 'xvda' has white space, at which Xen ends it, in its path: ADVICE");
});

test('a base has a path that an overlay’s header can hold, in bytes', () => {
  const found = (path: string) => problemOf(() => checkBasePath({ disk: 'xvda', path }));
  expect(found(`/${'d'.repeat(1022)}`)).toBeUndefined();
  expect(found(`/${'é'.repeat(512)}`)).toMatch(
    /disk 'xvda' has a path of 1025 bytes, and .* at most 1023 bytes: name it by/,
  );
});

describe('case E: an overlay’s path', () => {
  test.each([
    ['/d/a b', 'xen', 'linux', 'white space'],
    ['/d/a b', 'xen', 'hvm', 'white space'],
    ['/d/a,b', 'xen', 'hvm', 'a comma'],
    ['/d/a,b', 'xen', 'linux', undefined],
    ['/d/a,b', 'xen', 'xenpvh', undefined],
    ['/d/a b,c', 'kvm', 'hvm', undefined],
    ['/d/a\nb', 'kvm', 'hvm', 'a control character'],
    ['/d/a\ufdd0b', 'kvm', 'hvm', 'a code point that QEMU does not accept'],
    // Fine, as measured on Xen.
    ["/d/:%='é#;&", 'xen', 'linux', undefined],
    ["/d/:%='é#;&", 'xen', 'hvm', undefined],
  ])('%j of a guest of type %s, %s', (path, type, os, problem) => {
    const found = overlay(path, type, os);
    if (problem === undefined) expect(found).toBeUndefined();
    else
      expect(found).toBe(
        `unsupported configuration: overlay '${path}' of disk 'xvda' has ${problem}${found?.split(problem)[1]}`,
      );
    if (problem !== undefined) expect(found).toContain('ADVICE');
  });
});

const XVDA: DomainDisk = {
  target: 'xvda',
  bus: 'xen',
  device: 'disk',
  type: 'file',
  path: '/d/a.qcow2',
  hasSource: true,
  readonly: false,
  shareable: false,
  snapshot: 'default',
};

const generated = (name: string): string => {
  const options = { name, location: 'external', regularFiles: new Set(['/d/a.qcow2']) } as const;
  return alignDisks([], [XVDA], options)[0]?.target?.path ?? '';
};

const anyName = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('a', ' ', ',', '%', '2', '0', 'C', '\u00a0', '\u2028') }),
);

test('every accepted name makes a path that Xen can start from, and no two names make the same', () => {
  const names = new Map<string, string>();
  fc.assert(
    fc.property(anyName, (name) => {
      if (name === '' || problemOf(() => checkName(name))) return;
      const path = generated(name);
      expect(overlay(path, 'xen', 'hvm')).toBeUndefined();
      expect(names.get(path) ?? name).toBe(name);
      names.set(path, name);
    }),
    { numRuns: 1000 },
  );
});

test('cases 11 and 12: an accepted name reads back as itself, and QEMU reads it', () => {
  fc.assert(
    fc.property(anyName, (name) => {
      if (problemOf(() => checkInternalName(name))) return;
      expect(name).not.toMatch(/[\p{Cc}\p{Surrogate}\p{Noncharacter_Code_Point}]/u);
      const written = writeElement({ name: 'a', attributes: { b: name }, children: [name || 'x'] });
      expect(parseXml(written, 'domain_snapshot')).toMatchObject({ attributes: { b: name }, children: [name || 'x'] });
    }),
    { numRuns: 1000 },
  );
});

test.each(['', 'a/b', '.a', 'x'.repeat(243), 'a\rb', 'a\u007fb', 'a\ufdd0', 'a\u{10ffff}', 'a\ud800'].slice(1))(
  'the name %j is refused (35)',
  (name) => {
    expect(problemOf(() => checkName(name))).toMatch(/^invalid snapshot name /);
  },
);
