import { expect, test } from '@jest/globals';
import { callRefusal } from '../../../src/rpc/server/gate.ts';
import { DAEMON_STATUS, DOMAIN_LIST_PROTECTED, SNAPSHOT_SET_PROTECTED } from '../../../src/rpc/wire/daemon-program.ts';
import { decodeHeader, PROGRAM } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES } from '../../../src/rpc/wire/procedures.ts';
import { ALLOWED } from '../../../src/rpc/wire/read-only/allowed.ts';
import { REFUSED } from '../../../src/rpc/wire/read-only/refused.ts';
import { rpcFixture } from '../../support/rpc/fixtures.ts';

/** The last procedure of the libvirt that the tables are made from, and those that no client may call. */
const LAST = 453;
const SET_IDENTITY = 419;

const call = decodeHeader(rpcFixture('connect-get-type'));
const refusal = (procedure: number, program: number = PROGRAM.REMOTE): string | undefined =>
  callRefusal({ ...call, program, procedure }, { authenticated: true, open: true, readOnly: true, forwards: false })
    ?.message;

const allowed = new Map<number, string>(Object.entries(ALLOWED).map(([name, number]) => [number, name]));
const refused = new Map(
  Object.values(REFUSED.REMOTE).flatMap((calls) =>
    Object.entries(calls).map(([number, name]) => [Number(number), name] as const),
  ),
);

test('every procedure is in one table and not in the other, but for events, which only a server sends', () => {
  const events: number[] = [];
  for (let number = 1; number <= LAST; number += 1) {
    expect([number, allowed.has(number) && refused.has(number)]).toEqual([number, false]);
    if (!allowed.has(number) && !refused.has(number)) events.push(number);
  }
  expect(events.length).toBe(54);
  expect([...allowed.keys(), ...refused.keys()].every((number) => number <= LAST)).toBe(true);
  expect(events).toContain(SET_IDENTITY);
});

test('every procedure that we know by name is in a table under that name', () => {
  for (const [name, { number }] of Object.entries(PROCEDURES)) {
    // Of daemons, which call for others.
    if (number === SET_IDENTITY) continue;
    const function_ = `vir${name.replaceAll('_', '')}`.toLowerCase();
    expect(allowed.get(number) ?? refused.get(number)?.toLowerCase()).toBe(allowed.has(number) ? name : function_);
  }
});

test.each([true, false])("only root's daemons may say for whom they call (read-only: %p)", (readOnly) => {
  const said = (forwards: boolean) =>
    callRefusal({ ...call, procedure: SET_IDENTITY }, { authenticated: true, open: true, readOnly, forwards })?.message;
  expect(said(true)).toBe(undefined);
  expect(said(false)).toBe('access denied: only a daemon of root may say for whom it calls');
});

test('nothing that is allowed says in its name that it changes something', () => {
  const changing =
    /_(CREATE|DEFINE|UNDEFINE|DELETE|DESTROY|SET|START|STOP|ATTACH|DETACH|RESUME|SUSPEND|SAVE|RESTORE)(_|$)/;
  const looking = /GET_|LIST_|NUM_|HAS_|IS_|^AUTH_/;
  expect([...allowed.values()].filter((name) => changing.test(name) && !looking.test(name))).toEqual([]);
});

test('xlsnapd’s own procedures may be called if they only read; a number that none of them has does not exist', () => {
  expect(refusal(DAEMON_STATUS.number, PROGRAM.XLSNAP)).toBe(undefined);
  expect(refusal(DOMAIN_LIST_PROTECTED.number, PROGRAM.XLSNAP)).toBe(undefined);
  expect(refusal(SNAPSHOT_SET_PROTECTED.number, PROGRAM.XLSNAP)).toBe(
    'operation forbidden: read only access prevents changing which snapshots are protected',
  );
  expect(refusal(99, PROGRAM.XLSNAP)).toBe('unknown procedure: 99');
});

test('a refusal is libvirt’s own, of every program; what no table has does not exist', () => {
  for (const [number, name] of refused) {
    expect(refusal(number)).toBe(`operation forbidden: read only access prevents ${name}`);
  }
  for (const number of allowed.keys()) expect(refusal(number)).toBeUndefined();
  for (const number of [0, -1, 318, LAST + 1, 2 ** 31 - 1])
    expect(refusal(number)).toBe(`unknown procedure: ${number}`);
  expect(refusal(1, PROGRAM.QEMU)).toBe('operation forbidden: read only access prevents virDomainQemuMonitorCommand');
  expect(refusal(6, PROGRAM.QEMU)).toBe('unknown procedure: 6');
  expect(refusal(1, PROGRAM.LXC)).toBe('operation forbidden: read only access prevents virDomainLxcOpenNamespace');
  expect(refusal(1, 0x20008088)).toBe(`Cannot find program ${0x20008088} version 1`);
});

test('secrets are refused to those that may only look', () => {
  const rules = Object.entries(PROCEDURES).flatMap(([name, { secrets }]) => (secrets ? [{ name, secrets }] : []));
  expect(rules.map(({ name }) => name)).toEqual([
    'DOMAIN_GET_XML_DESC',
    'DOMAIN_SNAPSHOT_GET_XML_DESC',
    'DOMAIN_MANAGED_SAVE_GET_XML_DESC',
    'DOMAIN_CHECKPOINT_GET_XML_DESC',
  ]);
  for (const { secrets } of rules) {
    expect(secrets.refusal({ flags: 0 } as never)).toBeUndefined();
    expect(secrets.refusal({ flags: 1 } as never)).toMatch(/with secure flag$/);
  }
});
