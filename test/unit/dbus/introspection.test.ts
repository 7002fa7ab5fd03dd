import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type Described, introspection } from '../../../src/dbus/introspection.ts';
import { CONNECT, DOMAIN, DOMAIN_SNAPSHOT, XLSNAP_DOMAIN } from '../../../src/dbus/objects.ts';
import { introspected, introspectedNodes } from '../../support/introspected.ts';

const SCHEMAS = resolve(import.meta.dirname, '../../../schemas');
const LIBVIRT_DBUS = '/usr/share/dbus-1/interfaces';

const TABLES = [CONNECT, DOMAIN, DOMAIN_SNAPSHOT, XLSNAP_DOMAIN] as readonly Described[];

describe.each(TABLES)('$name', (table) => {
  const ours = introspected(introspection([table], []), table.name) ?? {};

  test('is the one in schemas/', () => {
    expect(Object.keys(ours).length).toBeGreaterThan(3);
    expect(introspected(readFileSync(resolve(SCHEMAS, `${table.name}.xml`), 'utf8'), table.name)).toEqual(ours);
  });

  const theirs = resolve(LIBVIRT_DBUS, `${table.name}.xml`);
  // Skipped where libvirt-dbus is not installed, and for the interface that it does not have.
  (existsSync(theirs) ? test : test.skip)("has members as libvirt-dbus' interface has them", () => {
    expect(introspected(readFileSync(theirs, 'utf8'), table.name)).toMatchObject(ours);
  });
});

test('an object lists what is beneath it', () => {
  expect(introspectedNodes(introspection([], ['a', 'b']))).toEqual(['a', 'b']);
});
