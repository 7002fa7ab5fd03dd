import { readFileSync } from 'node:fs';
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

  if (table === XLSNAP_DOMAIN) return;
  test("has members as libvirt-dbus' interface has them", () => {
    const theirs = readFileSync(resolve(LIBVIRT_DBUS, `${table.name}.xml`), 'utf8');
    expect(introspected(theirs, table.name)).toMatchObject(ours);
  });
});

test('an object lists what is beneath it', () => {
  expect(introspectedNodes(introspection([], ['a', 'b']))).toEqual(['a', 'b']);
});
