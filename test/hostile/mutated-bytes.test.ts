/**
 * Streams of frames, headers and tables of images, and answers of agents and device models, made from a seed: nothing ends the
 * daemon or keeps it from its work, and libvirtd sees in what is passed on the calls that the proxy has seen.
 * XLSNAP_FUZZ_STREAMS and XLSNAP_FUZZ_SEED choose a longer run or another one; of the kinds that need a file, there are
 * fewer.
 */

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PROGRAM } from '../../src/rpc/wire/frames.ts';
import { ALLOWED } from '../../src/rpc/wire/read-only/allowed.ts';
import { frameStream, pass, seenByLibvirtd } from '../support/fuzz/frame-streams.ts';
import { Mutations, memorySubject, qcow2Subject } from '../support/fuzz/image-files.ts';
import { answers, readAnswers } from '../support/fuzz/socket-answers.ts';
import { scratchFolder } from '../support/hosts/embedded.ts';
import { numbers } from '../support/random.ts';

const STREAMS = Number(process.env.XLSNAP_FUZZ_STREAMS ?? 10_000);
const SEED = Number(process.env.XLSNAP_FUZZ_SEED ?? 4);
const STALL_MS = 100;
const LIMIT_MS = 60_000 + STREAMS * 10;

let folder: Awaited<ReturnType<typeof scratchFolder>>;
beforeAll(async () => {
  // The stacks of refusals, which nobody looks at, take most of the time.
  Error.stackTraceLimit = 1;
  folder = await scratchFolder();
});
afterAll(async () => await folder[Symbol.asyncDispose]());

/** Processor time that this process has had, in milliseconds: a busy machine does not count. */
const worked = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

/** Runs the work, and returns the longest time that it kept the event loop from its next turn, by this clock. */
async function longestTurn(work: () => Promise<void>, clock: () => number): Promise<number> {
  let longest = 0;
  let begun = clock();
  let ended = false;
  const turn = (): void => {
    longest = Math.max(longest, clock() - begun);
    begun = clock();
    if (!ended) setImmediate(turn);
  };
  setImmediate(turn);
  await work().finally(() => {
    ended = true;
  });
  return Math.max(longest, clock() - begun);
}

/** What a case leaves for the event loop, and timers, come after so many. */
const BETWEEN_PAUSES = 100;

/** Runs the cases one after another, each with numbers from a seed of its own, so that one can be run alone. */
async function campaign(what: string, count: number, run: (random: (limit: number) => number) => Promise<void>) {
  let slowest = { ms: 0, n: 0 };
  for (let n = 0; n < count; n += 1) {
    const once = (clock: () => number) =>
      longestTurn(() => run(numbers(SEED * 10_000_000 + n)), clock).catch((error) => {
        throw new Error(`${what}, case ${n} of seed ${SEED}`, { cause: error });
      });
    // To ask for the processor's time takes as long as a case: only the slowest are asked for it. Node's garbage collector and
    // compiler count, but not each time.
    let ms = await once(() => performance.now());
    for (let again = 0; again < 4 && ms > slowest.ms && (again === 0 || ms >= STALL_MS); again += 1) {
      ms = Math.min(ms, await once(worked));
    }
    if (ms > slowest.ms) slowest = { ms, n };
    if (n % BETWEEN_PAUSES === 0) await new Promise(setImmediate);
  }
  const { ms, n } = slowest;
  process.stdout.write(`${count} ${what}, seed ${SEED}; the longest turn took ${ms.toFixed(1)} ms, in case ${n}\n`);
  expect(ms).toBeLessThan(STALL_MS);
}

const ALLOWED_NUMBERS = new Set<number>(Object.values(ALLOWED));

test(
  'streams of frames: libvirtd sees the calls that were let through, and a read-only client’s are allowed',
  async () => {
    let passed = 0;
    await campaign('streams of frames', STREAMS, async (random) => {
      const readOnly = random(2) === 0;
      const { bytes, calls } = await pass(frameStream(random), readOnly);
      const seen = [...seenByLibvirtd(bytes)].sort();
      const through = [...calls].sort();
      // An expectation takes as long as the rest.
      if (seen.join() !== through.join()) expect(seen).toEqual(through);
      passed += calls.length;
      for (const each of readOnly ? calls : []) {
        const [program, procedure = -1] = (each.split(': ')[1] ?? '').split('/').map(Number);
        if (program !== PROGRAM.REMOTE || !ALLOWED_NUMBERS.has(procedure)) expect(each).toBe('allowed to read');
      }
    });
    expect(passed).toBeGreaterThan(STREAMS / 2);
  },
  LIMIT_MS,
);

test(
  'answers of agents and device models',
  async () => {
    await campaign('conversations', STREAMS / 4, async (random) => await readAnswers(answers(random)));
  },
  LIMIT_MS,
);

test.each([
  ['headers and tables of qcow2 images', qcow2Subject],
  ['headers of memory images', memorySubject],
])(
  '%s',
  async (what, subject) => {
    await using mutations = await Mutations.of(await subject(folder.path));
    await campaign(what, STREAMS / 20, async (random) => await mutations.next(random));
  },
  LIMIT_MS,
);
