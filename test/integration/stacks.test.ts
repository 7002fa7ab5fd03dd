/** The sequences of calls of management stacks, by python3-libvirt, on the embedded host. */

import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

const TIMEOUT_MS = 60_000;
const COMPLETED = 0;
const READY = 3;
const ACTIVE_COMMIT = 4;
const INVALID_ARG = 8;

let host: Xlsnapd;

beforeAll(async () => {
  host = await Xlsnapd.start();
});

afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(host.home, { recursive: true, force: true });
});

test(
  'python3-libvirt: an overlay, a block commit that is polled and pivoted, a rebase, with both kinds of events',
  async () => {
    const script = resolve(import.meta.dirname, '../support/stacks.py');
    const { stdout } = await promisify(execFile)('/usr/bin/python3', [script, host.uri, 'test'], {
      timeout: TIMEOUT_MS,
    });
    expect(JSON.parse(stdout)).toEqual({
      'no job': {},
      job: true,
      pivoted: [
        [ACTIVE_COMMIT, READY],
        [ACTIVE_COMMIT, COMPLETED],
      ],
      // The active image at each event.
      paths: ['test.n1', 'test.qcow2'],
      capacity: 64 << 20,
      alone: INVALID_ARG,
    });
  },
  TIMEOUT_MS,
);
