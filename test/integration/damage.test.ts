/**
 * The promise of every operation, over guests made at random, for some pairs of operation and damage, on the embedded host and
 * through a real libvirtd. `npm run test:faults` has all of the embedded host's, many times.
 */

import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { operateAfter, PAIRS } from '../support/hosts/damage.ts';

/** One pair in so many is tried; the guest is made from the pair's place, so it is the same one in every run. */
const ONE_IN = { embedded: 13, libvirt: 29 };

/** Pairs, by their place, that have failed once. */
const AGAIN: readonly number[] = [149];

/** Block jobs need a device model, which libvirt's test driver has not. */
const NEEDS_DEVICE_MODEL = /^(commit|pull) /;

const tried = (oneIn: number) =>
  PAIRS.map((pair, seed) => ({ operation: pair[0], damage: pair[1], seed, pair })).filter(
    ({ seed }) => seed % oneIn === 0 || AGAIN.includes(seed),
  );

const TITLE =
  '$operation, and $damage (seed $seed): what is refused has changed nothing and the guest runs; what succeeds is whole';

let daemon: Xlsnapd;

describe('on the embedded host', () => {
  beforeAll(async () => {
    daemon = await Xlsnapd.start();
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
  });

  test.each(tried(ONE_IN.embedded))(TITLE, async ({ pair, seed }) => {
    expect((await operateAfter(daemon, pair, seed)).wrong).toEqual([]);
  });
});

describe('through libvirtd', () => {
  let libvirtd: Libvirtd;
  let home: string;

  beforeAll(async () => {
    libvirtd = await startLibvirtd();
    home = await folderForLibvirtd();
    daemon = await Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket] });
  });
  afterAll(async () => {
    await daemon[Symbol.asyncDispose]();
    await libvirtd[Symbol.asyncDispose]();
    await rm(home, { recursive: true });
  });

  test.each(tried(ONE_IN.libvirt).filter(({ operation }) => !NEEDS_DEVICE_MODEL.test(operation)))(
    TITLE,
    async ({ pair, seed }) => {
      expect((await operateAfter(daemon, pair, seed, 'test')).wrong).toEqual([]);
    },
  );
});
