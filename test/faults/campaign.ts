/** Many pairs of step and fault in several worlds at a time, and what came of it in numbers. */

import { type Pair, pairsOf, stepsOf, type Trial, tryPair } from './run.ts';
import { furnish, type Subject } from './subjects.ts';
import type { KINDS } from './verdict.ts';
import { World } from './world.ts';

/** Most of a trial is waiting: for programs to start, for a guest to count. */
const WORLDS = 3;

interface Report {
  readonly trials: readonly Trial[];
  /** One line for each complaint: where, what fault, what is wrong. */
  readonly complaints: readonly string[];
}

/** Every step × every fault that can strike there, of all these subjects. */
export async function allPairs(subjects: readonly Subject[]): Promise<readonly Pair[]> {
  await using world = await furnished();
  const pairs: Pair[] = [];
  for (const subject of subjects) pairs.push(...pairsOf(subject, await stepsOf(world, subject)));
  return pairs;
}

/** `told` gets a line after each trial. */
export async function campaign(pairs: readonly Pair[], told: (line: string) => void = () => {}): Promise<Report> {
  const trials: Trial[] = [];
  const queue = [...pairs];
  const worker = async (): Promise<void> => {
    let world = await furnished();
    try {
      for (let pair = queue.shift(); pair; pair = queue.shift()) {
        const trial = await tryPair(world, pair);
        trials.push(trial);
        told(`${describe(trial)}\n`);
        if (trial.complaints.length === 0) continue;
        await world[Symbol.asyncDispose]();
        world = await furnished();
      }
    } finally {
      await world[Symbol.asyncDispose]();
    }
  };
  await Promise.all(Array.from({ length: WORLDS }, worker));
  return { trials, complaints: trials.filter(({ complaints }) => complaints.length > 0).map(describe) };
}

/** The numbers, as they are reported. */
export function summary({ trials }: Report): string {
  const struck = trials.filter(({ hits }) => hits > 0);
  const of = (kind: (typeof KINDS)[number]) =>
    trials.filter((trial) => trial.complaints.some((each) => each.kind === kind));
  return [
    `faults injected: ${struck.length}`,
    `survived: ${struck.filter(({ complaints }) => complaints.length === 0).length}`,
    `guests left in a wrong state: ${of('guest').length}`,
    `snapshots lost: ${of('lost').length}`,
    `orphans: ${of('orphan').length}`,
    `clients without an answer: ${of('silence').length}`,
    `no way on: ${of('stuck').length}`,
  ].join(', ');
}

async function furnished(): Promise<World> {
  const world = await World.open();
  await furnish(world);
  return world;
}

function describe({ pair, hits, outcome, complaints }: Trial): string {
  const answer = outcome.kind === 'failure' ? outcome.error.message : outcome.kind;
  const wrong = complaints.map(({ kind, text }) => `\n    ${kind}: ${text}`).join('');
  return `${pair.subject.name} | ${pair.phase} ${pair.time} | ${pair.fault.name} | ${hits} | ${answer}${wrong}`;
}
