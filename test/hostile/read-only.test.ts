/** Every procedure on a read-only connection, with libvirtd as the judge of what may be done. */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Codec } from '../../src/rpc/wire/codec.ts';
import { decodePayload, PROGRAM, STATUS } from '../../src/rpc/wire/frames.ts';
import { remoteError } from '../../src/rpc/wire/messages.ts';
import { type SystemLibvirtd, startSystemLibvirtd } from '../support/daemons/system-libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { RawClient } from '../support/rpc/raw-client.ts';

/** Beyond the last procedure of any libvirt so far. */
const NUMBERS = 480;

/** libvirtd ends the connection at this one, and we do not serve it. */
const CONNECT_CLOSE = 2;
/** libvirtd answers with the last error of the thread that it happens to run in, which may be that of another call. */
const AUTH_POLKIT = 70;
/** Registered closing callbacks and events are of no interest, and CONNECT_OPEN twice closes the connection. */
const LEFT_OUT = new Set([1, CONNECT_CLOSE, AUTH_POLKIT]);

/** No name, no UUID, no flag, empty lists: libvirtd decodes this as the arguments of nearly any call. */
const ZEROS = 512;
const zeros: Codec<void> = { max: ZEROS, write: (writer) => writer.opaque(Buffer.alloc(ZEROS)), read: () => {} };
const nothing: Codec<void> = { max: 0, write: () => {}, read: () => {} };

let libvirtd: SystemLibvirtd;
let xlsnapd: Xlsnapd;

beforeAll(async () => {
  libvirtd = await startSystemLibvirtd();
  xlsnapd = await Xlsnapd.start({ args: ['--upstream', libvirtd.socket] });
});

afterAll(async () => {
  await xlsnapd?.[Symbol.asyncDispose]();
  await libvirtd?.[Symbol.asyncDispose]();
});

interface Said {
  readonly code: number;
  readonly message: string;
}

/** What is said to a call of nothing but zeros, each on a connection of its own. */
async function said(path: string, number: number, program: number): Promise<Said> {
  using client = await RawClient.open(path, 'test:///default');
  const serial = client.send({ number, args: zeros, result: nothing }, undefined, { program });
  const { header, bytes } = await client.reply(serial);
  if (header.status === STATUS.OK) return { code: 0, message: '' };
  const { code, message } = decodePayload(remoteError, bytes);
  return { code, message };
}

const DENIED = 29;

test.each([
  ['REMOTE', PROGRAM.REMOTE, NUMBERS],
  ['QEMU', PROGRAM.QEMU, 12],
  ['LXC', PROGRAM.LXC, 4],
])(
  'what libvirtd refuses is refused in its words, and what it serves is served: program %s',
  async (_name, program, last) => {
    let refused = 0;
    for (let number = 0; number < last; number += 1) {
      if (program === PROGRAM.REMOTE && LEFT_OUT.has(number)) continue;
      const theirs = await said(libvirtd.readOnlySocket, number, program);
      const ours = await said(`${xlsnapd.socket}-ro`, number, program);
      const shown = { number, theirs, ours };
      if (theirs.code === DENIED) {
        refused += 1;
        expect({ ...shown, ours: theirs }).toEqual(shown);
      } else if (ours.code === DENIED) {
        // libvirtd has looked at the arguments first, or does not know the procedure yet.
        expect(shown).toEqual({ ...shown, theirs: { ...theirs, code: expect.any(Number) } });
        expect([number, theirs.code]).not.toEqual([number, 0]);
      } else if (/^unknown procedure/.test(ours.message)) {
        expect(shown).toEqual({ ...shown, theirs: { code: 39, message: `unknown procedure: ${number}` } });
      }
    }
    expect(refused).toBeGreaterThan(program === PROGRAM.REMOTE ? 80 : 0);
  },
  120_000,
);
