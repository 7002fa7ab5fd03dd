import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { childAt, textAt } from '../../../src/model/element.ts';
import type { SnapshotRequest, SnapshotState } from '../../../src/model/snapshot.ts';
import { parseXml } from '../../../src/xml/engine/parse.ts';
import { writeElement } from '../../../src/xml/engine/write.ts';
import { readSnapshot, readSnapshotRequest } from '../../../src/xml/snapshot/read.ts';
import { writeSnapshot } from '../../../src/xml/snapshot/write.ts';

const CORPUS = join(import.meta.dirname, '../../../../shared/corpus');
const corpus = (...path: readonly string[]): string => readFileSync(join(CORPUS, ...path), 'utf8');
const names = (...path: readonly string[]): readonly string[] => readdirSync(join(CORPUS, ...path)).sort();

/** The one rule about driver-specific parts: a `<cookie>` is its driver's own, and a driver that has none drops it. */
const withoutCookie = (text: string): string => text.replace(/ {2}<cookie>\n[\s\S]*? {2}<\/cookie>\n/, '');

const UUID = '9d37b878-a7cc-9f9a-b78f-49b3abad25a8';

describe('documents to create, from libvirt’s own tests', () => {
  // As that test program does: it sets the clock, and for some the state and the UUID, before it prints.
  const created: readonly { name: string; now: bigint; state?: SnapshotState; uuid?: string }[] = [
    { name: 'disk-seclabel', now: 581484660n, uuid: UUID },
    { name: 'disk_driver_name_null', now: 1555419243n },
    { name: 'disk_snapshot', now: 1555419243n },
    { name: 'empty', now: 1386166249n, uuid: UUID },
    { name: 'external_vm', now: 1555419243n },
    { name: 'noparent', now: 1272917631n, state: 'running', uuid: UUID },
    { name: 'qcow2-metadata-cache', now: 1386166249n, uuid: UUID },
  ];

  /** A request has no state yet: libvirt's test prints it as it is, without one. */
  const print = (request: SnapshotRequest, state?: SnapshotState, uuid?: string): string => {
    const text = writeSnapshot(
      { ...request, state: state ?? 'running', revertDisks: [] },
      { secure: true, ...(uuid !== undefined && { uuid }) },
    );
    return state ? text : text.replace('  <state>running</state>\n', '');
  };

  test.each(created)('$name is printed as expected', ({ name, now, state, uuid }) => {
    const request = readSnapshotRequest(corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlin', `${name}.xml`), {
      offline: false,
      now,
    });
    const expected = corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlout', `${name}.xml`);
    expect(print(request, state, uuid ?? textUuid(expected))).toBe(expected);
  });

  const textUuid = (document: string): string | undefined =>
    textAt(parseXml(document, 'domain_snapshot'), 'domain', 'uuid');

  test.each(['description_only', 'name_and_description', 'name_only'])('%s comes back as it was', (name) => {
    const text = corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlin', `${name}.xml`);
    const request = readSnapshotRequest(text, { offline: false, now: 0n });
    // There the name stays unset and the time is 0.
    const printed = print(request);
    expect(name === 'description_only' ? printed.replace('  <name>0</name>\n', '') : printed).toBe(text);
  });

  test('every document of that folder is in one of the tests', () => {
    const tested = [...created.map(({ name }) => name), 'description_only', 'name_and_description', 'name_only'];
    const invalid = ['disk-invalid', 'disk-network-seclabel-invalid'];
    expect(names('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlin')).toEqual(
      [...tested, ...invalid].map((name) => `${name}.xml`).sort(),
    );
  });

  test.each(['disk-invalid', 'disk-network-seclabel-invalid'])('%s passes without a schema', (name) => {
    const text = corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlin', `${name}.xml`);
    expect(() => readSnapshotRequest(text, { offline: false, now: 1n })).not.toThrow();
  });
});

describe('whole snapshots, from libvirt’s own tests', () => {
  const redefined = names('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlout').filter((name) =>
    corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlout', name).includes('<state>'),
  );

  test('there are as many as the index says', () => {
    expect(redefined).toHaveLength(9);
  });

  test.each(redefined)('%s comes back byte for byte', (name) => {
    const text = corpus('libvirt-9.0.0/tests/qemudomainsnapshotxml2xmlout', name);
    const root = parseXml(text, 'domain_snapshot');
    const internal = childAt(root, 'active') !== undefined;
    const { snapshot, current } = readSnapshot(text, { internal });
    const uuid = snapshot.domain ? undefined : textAt(root, 'domain', 'uuid');
    const printed = writeSnapshot(snapshot, {
      secure: true,
      ...(uuid !== undefined && { uuid }),
      ...(current !== undefined && { current }),
    });
    expect(printed).toBe(withoutCookie(text));
  });
});

describe('snapshots that libvirtd stored', () => {
  const HEADER_END = '-->\n\n';

  test.each(names('oracle-stored/stored'))('%s is printed as libvirtd printed it, and as it stored it', (name) => {
    const stored = corpus('oracle-stored/stored', name);
    const { snapshot, current = false } = readSnapshot(stored, { internal: true });
    expect(writeSnapshot(snapshot, { secure: true })).toBe(withoutCookie(corpus('oracle-stored/dumpxml', name)));
    const body = stored.slice(stored.indexOf(HEADER_END) + HEADER_END.length);
    expect(writeSnapshot(snapshot, { secure: true, current })).toBe(withoutCookie(body));
  });
});

describe('definitions', () => {
  const definitions = names('libvirt-9.0.0/tests/libxlxml2domconfigdata').filter((name) => name.endsWith('.xml'));

  test.each(definitions)('%s: reading what was written gives the same', (name) => {
    const domain = parseXml(corpus('libvirt-9.0.0/tests/libxlxml2domconfigdata', name), 'domain_definition');
    expect(parseXml(writeElement(domain), 'domain_definition')).toEqual(domain);
  });

  test.each(definitions)('%s is written as it was', (name) => {
    const text = corpus('libvirt-9.0.0/tests/libxlxml2domconfigdata', name);
    expect(writeElement(parseXml(text, 'domain_definition'))).toBe(text);
  });
});
