/** What must be true after a fault, and what is not. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { LibvirtError } from '../../src/errors.ts';
import { REVERT } from '../../src/model/flags.ts';
import type { Fault } from './faults.ts';
import { SNAPSHOTS, type Subject } from './subjects.ts';
import type { World } from './world.ts';

/** How the client's call ended. */
export type Outcome =
  | { readonly kind: 'success' }
  | { readonly kind: 'failure'; readonly error: LibvirtError }
  /** The connection was cut: it may have been done or not. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'silence' };

/** No answer, a guest in a wrong state, a snapshot lost, something left behind that nobody was told of, no way on. */
export const KINDS = ['silence', 'guest', 'lost', 'orphan', 'stuck'] as const;

export interface Complaint {
  readonly kind: (typeof KINDS)[number];
  readonly text: string;
}

interface Case {
  readonly world: World;
  readonly subject: Subject;
  readonly fault: Fault;
  readonly outcome: Outcome;
  /** The daemon did not live through it: the domains of the embedded host have been booted anew. */
  readonly restarted: boolean;
}

/** Snapshots that nothing is ever done to. */
const ALWAYS: readonly string[] = ['base', 'cold'];

const SETTLE_MS = 5_000;
const POLL_MS = 20;

/** Looks at everything; the world is then in any state. */
export async function complaints(seen: Case): Promise<readonly Complaint[]> {
  const { world, subject } = seen;
  const of = (kind: Complaint['kind'], texts: readonly string[]) => texts.map((text) => ({ kind, text }));
  const listed = await world.listed();
  const found: Complaint[] = [
    ...of('silence', wrongAnswer(seen)),
    ...wrongList(seen, listed),
    ...of('guest', await wrongGuest(seen)),
    ...of('orphan', await leftovers(seen, listed)),
  ];
  const made = listed.filter((name) => !ALWAYS.includes(name));
  const whole = made.filter((name) => !inPart(seen, name));
  const remove = async (names: readonly string[]): Promise<void> => {
    for (const name of names)
      await world.deleteAsTold(name).catch((error: Error) => found.push({ kind: 'stuck', text: error.message }));
  };
  // As the error tells: until then the others' images and memory may be on the way. Without a device model the guest is off first.
  if (seen.fault.spoils && made.some((name) => inPart(seen, name))) await world.destroy();
  await remove(made.filter((name) => inPart(seen, name)));
  for (const name of whole) found.push(...of('lost', await wrongContents(world, name)));
  // Those beneath overlays can only be reverted to when the overlays have gone.
  await remove(whole);
  for (const name of ALWAYS.filter((name) => listed.includes(name))) {
    found.push(...of('lost', await wrongContents(world, name)));
  }
  try {
    if ((await world.state()) === 'shutoff') await world.start();
    await world.create('next');
    await world.delete('next');
  } catch (error) {
    found.push({ kind: 'stuck', text: `after ${subject.name} nothing goes on: ${(error as Error).message}` });
  }
  return found;
}

/** A delete that has failed says so: what is left of that snapshot can only be deleted again. */
function inPart({ outcome }: Case, name: string): boolean {
  return says(outcome, `snapshot '${name}'`) && says(outcome, 'is deleted in part');
}

function wrongAnswer({ outcome, fault }: Case): readonly string[] {
  switch (outcome.kind) {
    case 'success':
      return [];
    case 'silence':
      return ['the client got no answer'];
    case 'unknown':
      return fault.silences ? [] : ['the connection was cut'];
    case 'failure': {
      const { code, message } = outcome.error;
      if (message.trim() === '') return [`an error without a reason: ${code}`];
      return /undefined|TypeError|\[object|\.js:\d|\bE[A-Z]{3,}: /.test(message)
        ? [`an error without words: ${message}`]
        : [];
    }
  }
}

/** What was reported as taken is listed; what was reported as failed or deleted is not, unless the error says so. */
function wrongList({ subject: { before, after }, outcome }: Case, listed: readonly string[]): readonly Complaint[] {
  const certain =
    outcome.kind === 'success' ? after.listed : before.listed.filter((name) => after.listed.includes(name));
  const possible = outcome.kind === 'success' ? after.listed : [...before.listed, ...after.listed];
  const made = (name: string) => outcome.kind === 'failure' && !before.listed.includes(name) && !tellsOf(outcome, name);
  return [
    ...[...ALWAYS, ...certain]
      .filter((name) => !listed.includes(name))
      .map((name) => ({ kind: 'lost' as const, text: `snapshot '${name}' is not listed` })),
    ...listed
      .filter((name) => !ALWAYS.includes(name) && (!possible.includes(name) || made(name)))
      .map((name) => ({ kind: 'orphan' as const, text: `snapshot '${name}' is listed` })),
  ];
}

function says(outcome: Outcome, text: string): boolean {
  return outcome.kind === 'failure' && outcome.error.message.includes(text);
}

/** An error that tells what has become of the snapshot. */
function tellsOf(outcome: Outcome, name: string): boolean {
  const words = ['is left behind', 'left over: ', 'is deleted in part', 'is taken', 'may be left'];
  return says(outcome, `'${name}'`) && words.some((text) => says(outcome, text));
}

/** The state before, or after, or the one that the error tells of. */
async function wrongGuest({ world, subject, outcome, restarted, fault }: Case): Promise<readonly string[]> {
  const state = await world.state();
  if (state === 'running' && !(await world.guest.counts()))
    return ['the domain is running, and its guest stands still'];
  if (restarted) return await wrongDisks(world, subject);
  const allowed = outcome.kind === 'success' ? [subject.after] : [subject.before, subject.after];
  const fitting = allowed.filter((situation) => situation.state === state);
  const told = ['is shut off', 'reverted to snapshot', 'is left'].some((words) => says(outcome, words));
  if (fitting.length === 0) return told ? [] : [`the domain is ${state}, and nobody says so`];
  // Nobody can look at the disk of a domain whose device model is dead, or says nothing.
  if (fault.spoils === 'device model') return [];
  const differences = await Promise.all(fitting.map(({ contents }) => world.guest.differences(contents)));
  return told || differences.some((texts) => texts.length === 0) ? [] : (differences[0] ?? []);
}

/** Of a domain that was booted again: its disks are as before or after, unless the next daemon says how to finish a revert. */
async function wrongDisks(world: World, { before, after }: Subject): Promise<readonly string[]> {
  if (world.daemon.log.includes('to finish it: virsh snapshot-revert')) return [];
  const allowed = [before, after].map(({ contents: { disk } }) => world.guest.differences({ disk }));
  const differences = await Promise.all(allowed);
  return differences.some((texts) => texts.length === 0) ? [] : (differences[0] ?? []);
}

/** What is there and belongs to no snapshot and no running domain, or is not there and should be. */
async function leftovers(seen: Case, listed: readonly string[]): Promise<readonly string[]> {
  const { world, subject, outcome, fault } = seen;
  const inImages = await world.inImages();
  const isHidden = (name: string): boolean =>
    !listed.includes(name) && (outcome.kind === 'success' || (outcome.kind === 'unknown' && inImages.includes(name)));
  const known = [...listed, ...(subject.after.hidden ?? []).filter(isHidden)];
  const internal = known.filter((name) => !SNAPSHOTS[name]?.external);
  const memory = internal.filter((name) => SNAPSHOTS[name]?.state !== 'shutoff').map((name) => `${name}.save`);
  const told = (name: string) =>
    tellsOf(outcome, name.replace(/\.(save|xml)$/, '')) ||
    (name.includes('/') && says(outcome, 'left over: ') && says(outcome, `${name}'`)) ||
    (name.endsWith('.json') && world.daemon.log.includes(name));
  const found = [
    compare('snapshots in the images', inImages, internal, told),
    compare('memory images', await world.memoryImages(), memory, told),
    compare(
      'metadata',
      await world.metadataFiles(),
      listed.map((name) => `${name}.xml`),
      told,
    ),
    compare('journal', await world.journalFiles(), [], told),
    compare('state folder', await world.strayFiles(), [], told),
  ];
  const expected = (await world.state()) === 'shutoff' ? [0] : fault.spoils === undefined ? [1] : [0, 1];
  for (const end = Date.now() + SETTLE_MS; !expected.includes(await world.deviceModels()); await sleep(POLL_MS)) {
    if (Date.now() < end) continue;
    found.push(`${await world.deviceModels()} device models run, not ${expected.join(' or ')}`);
    break;
  }
  return found.filter((text) => text !== undefined);
}

function compare(
  what: string,
  there: readonly string[],
  expected: readonly string[],
  told: (name: string) => boolean,
): string | undefined {
  const missing = expected.filter((name) => !there.includes(name) && !told(name));
  const more = there.filter((name) => !expected.includes(name) && !told(name));
  if (missing.length + more.length === 0) return undefined;
  return `${what}: ${[...missing.map((name) => `no ${name}`), ...more].join(', ')}`;
}

async function wrongContents(world: World, name: string): Promise<readonly string[]> {
  const { contents } = SNAPSHOTS[name] ?? {};
  if (!contents) return [];
  try {
    await world.revert(name, name === 'new-paused' ? REVERT.RUNNING : 0);
  } catch (error) {
    return [`snapshot '${name}' cannot be reverted to: ${(error as Error).message}`];
  }
  return (await world.guest.differences(contents)).map((text) => `after a revert to '${name}' ${text}`);
}
