import { expect, test } from '@jest/globals';
import { PROCEDURES } from '../../../src/rpc/wire/procedures.ts';

/** Saves and migrations change something, too: but it is the upstream that carries them out, and that refuses them. */
const LEFT_TO_THE_UPSTREAM = [
  'DOMAIN_MIGRATE_BEGIN3',
  'DOMAIN_MIGRATE_BEGIN3_PARAMS',
  'DOMAIN_MIGRATE_PERFORM3',
  'DOMAIN_MIGRATE_PERFORM3_PARAMS',
  'DOMAIN_SAVE',
  'DOMAIN_SAVE_FLAGS',
  'DOMAIN_MANAGED_SAVE',
];

/** What libvirt lets a read-only connection do: each looks, or is about the connection itself. */
const ALLOWED =
  /^(AUTH_LIST|CONNECT_\w+|NODE_GET_INFO|DOMAIN_(GET|LOOKUP|IS|LIST|HAS)_\w+|DOMAIN_SNAPSHOT_(NUM|NUM_CHILDREN|LIST_\w+|LOOKUP_BY_NAME|CURRENT|GET_\w+|IS_CURRENT|HAS_METADATA))$/;

const entries = Object.entries(PROCEDURES);

test('every procedure that changes something has a rule for read-only connections, and is named in its refusal', () => {
  const changing = entries.filter(([name]) => !ALLOWED.test(name) && !LEFT_TO_THE_UPSTREAM.includes(name));
  expect(changing.length).toBeGreaterThan(15);
  for (const [name, { readOnly }] of changing) {
    const call = /^read only access prevents vir(\w+)$/.exec(readOnly?.refusal({} as never) ?? '')?.[1] ?? 'nothing';
    expect(call.toLowerCase()).toBe(name.replaceAll('_', '').toLowerCase());
  }
});

test('what looks is allowed, but for secrets', () => {
  const looking = entries.filter(([name]) => ALLOWED.test(name));
  const withRule = looking.filter(([, { readOnly }]) => readOnly !== undefined);
  expect(withRule.map(([name]) => name)).toEqual(['DOMAIN_GET_XML_DESC', 'DOMAIN_SNAPSHOT_GET_XML_DESC']);
  for (const [, { readOnly }] of withRule) {
    expect(readOnly?.refusal({ flags: 0 } as never)).toBeUndefined();
    expect(readOnly?.refusal({ flags: 1 } as never)).toMatch(/with secure flag$/);
  }
});
