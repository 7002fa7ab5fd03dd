/** One fault at one step of one operation. */

import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { asLibvirtError } from '../../src/errors.ts';
import { type End, FAULTS, type Fault, type Touch, watch } from './faults.ts';
import type { Step } from './steps.ts';
import { type Subject, tidy } from './subjects.ts';
import { type Complaint, complaints, type Outcome } from './verdict.ts';
import type { World } from './world.ts';

/** An answer that takes longer is none. */
const ANSWER_MS = 60_000;
const DEATH_MS = 5_000;
const POLL_MS = 20;

export interface Pair {
  readonly subject: Subject;
  readonly phase: Step['phase'];
  /** How often the operation has begun this phase when the fault strikes: once, but for the layers of a merge. */
  readonly time: number;
  readonly fault: Fault;
}

export interface Trial {
  readonly pair: Pair;
  /** How often the fault struck; 0: there was nothing for it at or after this step. */
  readonly hits: number;
  readonly outcome: Outcome;
  readonly complaints: readonly Complaint[];
}

/** A step of a subject as it is without any fault, and what is touched from there to the next. */
interface SeenStep extends Pick<Pair, 'phase' | 'time'> {
  readonly touches: readonly Touch[];
}

/** Performs a subject, and watches it. */
export async function stepsOf(world: World, subject: Subject): Promise<readonly SeenStep[]> {
  await subject.prepare(world);
  const steps: (Omit<SeenStep, 'touches'> & { touches: readonly Touch[] })[] = [];
  {
    await using watching = await watch(world);
    world.steps.atStep = async ({ phase }) => {
      const touches = await watching.mark();
      const before = steps.at(-1);
      if (before) before.touches = touches;
      const time = steps.filter((step) => step.phase === phase).length + 1;
      steps.push({ phase, time, touches: [] });
    };
    await subject.perform(world);
  }
  world.steps.atStep = async () => {};
  await tidyAfter(world, subject);
  return steps;
}

/** Every step × every fault that can strike there. */
export function pairsOf(subject: Subject, steps: readonly SeenStep[]): readonly Pair[] {
  return steps.flatMap(({ phase, time, touches }) =>
    FAULTS.filter(({ touch }) => touch === undefined || touches.some((seen) => isDeepStrictEqual(seen, touch))).map(
      (fault) => ({ subject, phase, time, fault }),
    ),
  );
}

/** One fault at one step, and a look at everything afterwards. The world is then as it was before. */
export async function tryPair(world: World, pair: Pair): Promise<Trial> {
  try {
    return await attempt(world, pair);
  } catch (error) {
    const text = `${(error as Error).message}; ${world.daemon.log}`;
    return { pair, hits: 1, outcome: { kind: 'silence' }, complaints: [{ kind: 'stuck', text }] };
  }
}

async function attempt(world: World, pair: Pair): Promise<Trial> {
  const { subject, phase, time, fault } = pair;
  await subject.prepare(world);
  let end: End = async () => 0;
  let times = 0;
  world.steps.atStep = async (step) => {
    if (step.phase !== phase) return;
    times += 1;
    if (times !== time) return;
    end = await fault.begin(world);
  };
  const outcome = await answered(subject.perform(world));
  if (fault.silences === 'client') await quiet(world);
  const hits = await end();
  world.steps.atStep = async () => {};
  const restarted = await hasDied(world, fault.silences === 'daemon' && hits > 0);
  if (restarted) await world.restart();
  const found = [...(await complaints({ world, subject, fault, outcome, restarted }))];
  if (restarted && fault.silences !== 'daemon') found.push({ kind: 'stuck', text: 'the daemon has died' });
  await tidyAfter(world, subject);
  return { pair, hits, outcome, complaints: found };
}

/** One that is bound to have died may not be known to have yet. */
async function hasDied(world: World, bound: boolean): Promise<boolean> {
  for (const end = Date.now() + (bound ? DEATH_MS : 0); world.daemon.alive && Date.now() < end; ) await sleep(POLL_MS);
  return !world.daemon.alive;
}

async function answered(work: Promise<void>): Promise<Outcome> {
  const late = new AbortController();
  const silence: Outcome = { kind: 'silence' };
  const outcome = await Promise.race([
    work.then((): Outcome => ({ kind: 'success' }), failure),
    sleep(ANSWER_MS, silence, { signal: late.signal }).catch(() => silence),
  ]);
  late.abort();
  return outcome;
}

function failure(thrown: unknown): Outcome {
  const error = asLibvirtError(thrown);
  return error.code === 'RPC' ? { kind: 'unknown' } : { kind: 'failure', error };
}

/** A job goes on without its client. */
async function quiet(world: World): Promise<void> {
  for (const end = Date.now() + ANSWER_MS; Date.now() < end; await sleep(POLL_MS)) {
    if ((await world.journalFiles()).length === 0) return;
  }
}

/** Snapshots without metadata are nobody's to delete but ours. */
async function tidyAfter(world: World, { after }: Subject): Promise<void> {
  await tidy(world);
  await world.removeStrayFiles();
  for (const name of after.hidden ?? []) await world.forget(name);
}
