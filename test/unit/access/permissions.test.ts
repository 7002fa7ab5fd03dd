/**
 * Each call that is answered here, or checked on its way to the upstream, is judged by the permissions that libvirt declares for
 * it: fixtures/acl.json has them, written from libvirt's source by scripts/acl-table.mjs. Calls that pass are judged by the upstream.
 */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import type { Judge } from '../../../src/access/acl.ts';
import { isLibvirtError, LibvirtError } from '../../../src/errors.ts';
import { judgedCalls } from '../../../src/rpc/proxy/proxy.ts';
import type { ProxyContext } from '../../../src/rpc/proxy/proxy-context.ts';
import { LifecycleHub } from '../../../src/rpc/server/lifecycle-hub.ts';
import {
  DOMAIN_LIST_PROTECTED,
  DOMAIN_LIST_SNAPSHOT_ROWS,
  SNAPSHOT_SET_PROTECTED,
} from '../../../src/rpc/wire/daemon-program.ts';
import { decodeHeader, decodePayload, encodeFrame, PROGRAM, TYPE } from '../../../src/rpc/wire/frames.ts';
import { PROCEDURES, type Procedure } from '../../../src/rpc/wire/procedures.ts';
import { AGENT_COMMAND } from '../../../src/rpc/wire/qemu-program.ts';
import type { BlockApi, GuestApi, SaveImageApi, SnapshotApi } from '../../../src/snapshots/api.ts';
import { NOTHING_ELSE } from '../../support/fakes/snapshots-in-memory.ts';

/** `withFlags`: the bits that ask for more; a text is a condition that no call of ours has. */
interface Declared {
  readonly name: string;
  readonly always: readonly string[];
  readonly withFlags: Readonly<Record<string, number | string>>;
}

type Program = 'REMOTE' | 'QEMU';
type Table = Readonly<Record<Program, Readonly<Record<string, Declared>>>>;
const TABLE: Table = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../../fixtures/acl.json'), 'utf8'));

/** All zeros: no name, no flag, empty lists. */
const ZEROS = Buffer.alloc(512);

/** Our procedures with their arguments. */
const PROCEDURE_OF: Readonly<Record<Program, ReadonlyMap<number, Procedure<unknown, unknown>>>> = {
  REMOTE: new Map(Object.values(PROCEDURES).map((each) => [each.number, each as Procedure<unknown, unknown>])),
  QEMU: new Map([[AGENT_COMMAND.number, AGENT_COMMAND as Procedure<unknown, unknown>]]),
};

interface Seen {
  /** What was asked of the judge: `domain.read`. */
  readonly asked: string[];
  /** What was done: methods that were called, and whether the upstream was. */
  readonly done: string[];
}

/** Every method is noted, but for those whose answer is not for the caller. */
const noting = <T extends object>(done: string[]): T =>
  new Proxy({} as T, {
    get: (_target, name) => {
      if (name === 'count') return () => 0;
      if (name === 'owner') return async () => undefined;
      if (name === 'completedJob') return () => undefined;
      if (name === 'job') return () => ({ operation: 'create', started: 0, cancel: () => done.push('cancel') });
      return async () => void done.push(String(name));
    },
  });

/** Runs a call by a caller whom the judge grants everything, or nothing. Undefined if it passes unread. */
async function judged(frame: Buffer, grants: boolean): Promise<Seen | undefined> {
  const seen: Seen = { asked: [], done: [] };
  const ask = async (names: readonly string[]): Promise<void> => {
    seen.asked.push(...names);
    if (!grants) throw new LibvirtError('ACCESS_DENIED', "'Xen' denied access", { domain: 'ACCESS' });
  };
  const judge: Judge = {
    domain: (_ref, ...permissions) => ask(permissions.map((each) => `domain.${each}`)),
    saved: (_ref, ...permissions) => ask(permissions.map((each) => `domain.${each}`)),
    connect: (permission) => ask([`connect.${permission}`]),
    sees: async () => true,
  };
  const calls = judgedCalls({
    ...NOTHING_ELSE,
    overlaid: { ...NOTHING_ELSE.overlaid, any: () => true },
    reverted: { any: () => true, reason: () => undefined },
    snapshots: noting<SnapshotApi>(seen.done),
    blocks: noting<BlockApi>(seen.done),
    guests: noting<GuestApi>(seen.done),
    saveImages: noting<SaveImageApi>(seen.done),
  })(judge);
  using events = new LifecycleHub().attach(() => {});
  const connection = {
    ...{ open: true, readOnly: false, forwards: false, qemuSystem: undefined, judge, events },
    authentication: { done: true },
    forwardIdentity: async () => {},
    toClient: () => {},
    toUpstream: (call: typeof header, bytes: Buffer, then?: (reply: typeof header, bytes: Buffer) => unknown) => {
      seen.done.push('upstream');
      // Its reply to CONNECT_OPEN is what ours is judged after.
      return call.procedure === PROCEDURES.CONNECT_OPEN.number ? Promise.resolve(then?.(call, bytes)) : undefined;
    },
  } as unknown as ProxyContext;
  const header = decodeHeader(frame);
  if (calls.decide(connection, header).wanted !== 'whole') return undefined;
  await calls.run(connection, header, frame).catch((error) => {
    if (!isLibvirtError(error)) throw error;
  });
  await new Promise(setImmediate);
  return seen;
}

/** The procedure's call with these flags, and nothing else. */
function callOf(program: Program, number: number, flags: number): Buffer {
  const header = { program: PROGRAM[program], procedure: number, type: TYPE.CALL, serial: 1 };
  const procedure = PROCEDURE_OF[program].get(number);
  const zeros = Buffer.concat([Buffer.alloc(28), ZEROS]);
  if (!procedure)
    return encodeFrame(header, { max: 0, write: (writer) => writer.opaque(ZEROS), read: () => {} }, undefined);
  const args = decodePayload(procedure.args, zeros) as object;
  return encodeFrame(header, procedure.args, 'flags' in (args ?? {}) ? { ...args, flags } : args);
}

const ROWS = (Object.entries(TABLE).filter(([name]) => name !== 'libvirt') as [Program, Table[Program]][]).flatMap(
  ([program, rows]) => Object.entries(rows).map(([number, row]) => ({ program, number: Number(number), ...row })),
);

test('the table has every procedure that we know by name', () => {
  const known = (['REMOTE', 'QEMU'] as const).flatMap((program) =>
    [...PROCEDURE_OF[program].keys()].map((n) => TABLE[program][n]),
  );
  expect(known).not.toContain(undefined);
  expect(ROWS.length).toBeGreaterThan(450);
});

test('what is answered here needs what libvirt declares for it, with each flag and without', async () => {
  const answered: string[] = [];
  for (const { program, number, name, always, withFlags } of ROWS) {
    for (const flags of [0, ...Object.values(withFlags).filter((each) => typeof each === 'number')]) {
      const seen = await judged(callOf(program, number, flags), true);
      // Passed as it is, or read here and not judged: the upstream judges it.
      if (!seen || (seen.asked.length === 0 && seen.done[0] === 'upstream')) continue;
      const declared = Object.entries(withFlags).flatMap(([each, bits]) => (flags & Number(bits) ? [each] : []));
      expect({ name, flags, asked: seen.asked }).toEqual({ name, flags, asked: [...always, ...declared] });
      answered.push(name);
    }
  }
  expect(new Set(answered).size).toBeGreaterThan(45);
});

test('nothing is done for a caller who is denied it, and the upstream is not asked', async () => {
  for (const { program, number, name } of ROWS) {
    const granted = await judged(callOf(program, number, 0), true);
    if (!granted || granted.asked.length === 0 || name === 'CONNECT_OPEN') continue;
    expect({ name, done: (await judged(callOf(program, number, 0), false))?.done }).toEqual({ name, done: [] });
  }
});

test.each([
  ['SNAPSHOT_SET_PROTECTED', SNAPSHOT_SET_PROTECTED, 'domain.snapshot', 'setProtected'],
  ['DOMAIN_LIST_PROTECTED', DOMAIN_LIST_PROTECTED, 'domain.read', 'listProtected'],
  ['DOMAIN_LIST_SNAPSHOT_ROWS', DOMAIN_LIST_SNAPSHOT_ROWS, 'domain.read', 'listRows'],
] as const)(
  'xlsnapd’s own %s needs what libvirt declares for a delete, or a list',
  async (_, call, permission, done) => {
    const { program, number: procedure } = call;
    const header = { program, procedure, type: TYPE.CALL, serial: 1 };
    const frame = encodeFrame(header, { max: 0, write: (writer) => writer.opaque(ZEROS), read: () => {} }, undefined);
    expect(await judged(frame, true)).toEqual({ asked: [permission], done: [done] });
    expect(await judged(frame, false)).toEqual({ asked: [permission], done: [] });
  },
);
