/** Which program's procedures are answered here: of libvirt's QEMU program one alone. */

import { expect, test } from '@jest/globals';
import { ClientCalls } from '../../../../src/rpc/proxy/client-calls.ts';
import type { ProxyContext } from '../../../../src/rpc/proxy/proxy-context.ts';
import { guestAnswers, qemuAnswers } from '../../../../src/rpc/server/calls/guest-calls.ts';
import { PROGRAM, STATUS, TYPE } from '../../../../src/rpc/wire/frames.ts';
import type { GuestApi } from '../../../../src/snapshots/api.ts';

const api = {} as GuestApi;
const calls = new ClientCalls({ answers: guestAnswers(api), daemon: new Map(), qemu: qemuAnswers(api) }, new Map());
const connection = (readOnly: boolean) =>
  ({ open: true, readOnly, forwards: false, authentication: { done: true } }) as unknown as ProxyContext;
const call = (program: number, procedure: number) =>
  ({ length: 60, program, version: 1, procedure, type: TYPE.CALL, serial: 1, status: STATUS.OK }) as const;

test('a command for the agent is answered here, other calls of the QEMU program pass, also of the same number', () => {
  expect(calls.decide(connection(false), call(PROGRAM.QEMU, 3)).wanted).toBe('whole');
  expect(calls.decide(connection(false), call(PROGRAM.QEMU, 1)).wanted).toBe('pass');
  expect(calls.decide(connection(false), call(PROGRAM.QEMU, 335)).wanted).toBe('pass');
  expect(calls.decide(connection(false), call(PROGRAM.REMOTE, 3)).wanted).toBe('pass');
  expect(calls.decide(connection(false), call(PROGRAM.LXC, 3)).wanted).toBe('pass');
});

test('a read-only client may not send the agent a command, nor set the clock', () => {
  expect(calls.decide(connection(true), call(PROGRAM.QEMU, 3)).refusal?.detail).toBe(
    'read only access prevents virDomainQemuAgentCommand',
  );
  expect(calls.decide(connection(true), call(PROGRAM.REMOTE, 338)).refusal?.detail).toBe(
    'read only access prevents virDomainSetTime',
  );
});
