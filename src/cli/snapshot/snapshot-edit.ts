/** `snapshot-edit`: edits the document and redefines the snapshot from the result. */

import { asLibvirtError, type LibvirtError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { CREATE, DELETE, XML } from '../../model/flags.ts';
import type { SnapshotCalls, SnapshotRef } from '../../rpc/client/snapshots.ts';
import { command, DOMAIN, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import type { Session } from '../session.ts';
import { askReedit } from './ask-reedit.ts';
import { EditedFile } from './editor.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';

/** `xlsnap snapshot-edit`, as in virsh. */
export const SNAPSHOT_EDIT = command({
  description: 'Edit the domain snapshot XML for a named snapshot',
  options: [
    DOMAIN,
    { name: 'snapshotname', type: 'string', help: 'snapshot name', completes: 'snapshot' },
    { name: 'current', type: 'bool', help: 'also set edited snapshot as current' },
    { name: 'rename', type: 'bool', help: 'allow renaming an existing snapshot' },
    { name: 'clone', type: 'bool', help: 'allow cloning to new name' },
    JSON_OPTION,
  ],
  async run(values, session) {
    exclusive(values, 'rename', 'clone');
    const domain = await session.domain(values.domain);
    const choice = { name: values.snapshotname, current: values.current, both: true };
    const snapshot = await lookupSnapshot(session, domain, choice);
    const { snapshots } = await session.client();
    const setCurrent = values.current && values.snapshotname !== undefined;
    const failed = `Failed to update ${snapshot.name}`;
    const changed = await change(session, { snapshots, domain, snapshot, setCurrent }, values).catch((error) => {
      session.error(error.message);
      throw failure(failed, error);
    });
    if (!changed) throw failure(failed);
    session.done(values.json, changed.snapshot, changed.text);
  },
});

interface NameOptions {
  readonly rename: boolean;
  readonly clone: boolean;
}

interface Editing {
  readonly snapshots: SnapshotCalls;
  readonly domain: DomainRef;
  readonly snapshot: SnapshotRef;
  /** Makes the edited snapshot the current one, and redefines it even if nothing was changed. */
  readonly setCurrent: boolean;
}

type Outcome =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'given up' }
  | { readonly kind: 'edited'; readonly snapshot: SnapshotRef }
  | { readonly kind: 'refused'; readonly message: string; readonly error: LibvirtError };

/** Returns the edited snapshot with virsh's message, or undefined if the user threw the changes away. */
async function change(
  session: Session,
  editing: Editing,
  options: NameOptions,
): Promise<{ readonly snapshot: SnapshotRef; readonly text: string } | undefined> {
  const { snapshots, snapshot } = editing;
  const outcome = await edit(session, editing);
  if (outcome.kind === 'given up') return undefined;
  if (outcome.kind === 'unchanged') {
    return { snapshot, text: `Snapshot ${snapshot.name} XML configuration not changed.\n` };
  }
  return { snapshot: outcome.snapshot, text: await settle(snapshots, snapshot, outcome.snapshot, options) };
}

/**
 * Edits until the document is accepted, is unchanged, or the user gives up. Without a terminal, rejects with the first
 * refusal.
 */
async function edit(session: Session, editing: Editing): Promise<Exclude<Outcome, { kind: 'refused' }>> {
  const { snapshots, snapshot, setCurrent } = editing;
  const read = () => snapshots.getXMLDesc(snapshot, XML.SECURE);
  let original = await read();
  await using file = await EditedFile.of(original);
  let text = await file.edit(process.env);
  for (;;) {
    if (text === original && !setCurrent) return { kind: 'unchanged' };
    const now = await read();
    const outcome = now === original ? await redefine(editing, text) : CHANGED;
    original = now;
    if (outcome.kind !== 'refused') return outcome;
    if (!process.stdin.isTTY) throw outcome.error;
    if (outcome !== CHANGED) session.error(outcome.error.message);
    const answer = await askReedit(session, outcome.message);
    if (answer === 'n') return { kind: 'given up' };
    if (answer === 'y') text = await file.edit(process.env);
  }
}

const CHANGED_TEXT = 'The XML configuration was changed by another user.';
const CHANGED = { kind: 'refused', message: CHANGED_TEXT, error: failure(CHANGED_TEXT) } as const;

async function redefine({ snapshots, domain, setCurrent }: Editing, text: string): Promise<Outcome> {
  try {
    const flags = CREATE.REDEFINE | (setCurrent ? CREATE.CURRENT : 0);
    return { kind: 'edited', snapshot: await snapshots.createXML(domain, text, flags) };
  } catch (error) {
    return { kind: 'refused', message: 'Failed.', error: asLibvirtError(error) };
  }
}

/** Applies --rename or --clone to a new name in the document; without them, deletes the snapshot of that name again. */
async function settle(
  snapshots: SnapshotCalls,
  before: SnapshotRef,
  { name, ...rest }: SnapshotRef,
  { rename, clone }: NameOptions,
): Promise<string> {
  if (name === before.name) return `Snapshot ${name} edited.\n`;
  if (clone) return `Snapshot ${before.name} cloned to ${name}.\n`;
  const unwanted = rename ? before : { name, ...rest };
  try {
    await snapshots.delete(unwanted, DELETE.METADATA_ONLY);
  } catch (error) {
    throw failure(`${(error as Error).message}\nerror: Failed to clean up ${unwanted.name}`, error);
  }
  if (!rename) throw failure(`Must use --rename or --clone to change ${before.name} to ${name}`);
  return '';
}
