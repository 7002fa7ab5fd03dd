/** `snapshot-edit`: the document in an editor, and redefined from what comes back. */

import type { DomainRef } from '../model/domain.ts';
import { CREATE, DELETE, XML } from '../model/flags.ts';
import type { SnapshotCalls, SnapshotRef } from '../rpc/client-snapshots.ts';
import { command, DOMAIN, exclusive, failure, JSON_OPTION } from './command.ts';
import { EditedFile } from './editor.ts';
import { askReedit } from './reedit.ts';
import type { Session } from './session.ts';
import { lookupSnapshot } from './snapshot-lookup.ts';

export const SNAPSHOT_EDIT = command({
  name: 'snapshot-edit',
  help: 'edit XML for a snapshot',
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
    try {
      const edited = await edit(session, { snapshots, domain, snapshot, setCurrent });
      const result = edited ?? snapshot;
      const text = edited ? await settle(snapshots, snapshot, edited, values) : NOT_CHANGED(snapshot.name);
      session.done(values.json, result, text);
    } catch (error) {
      session.error((error as Error).message);
      throw failure(`Failed to update ${snapshot.name}`, error);
    }
  },
});

const NOT_CHANGED = (name: string): string => `Snapshot ${name} XML configuration not changed.\n`;

interface Editing {
  readonly snapshots: SnapshotCalls;
  readonly domain: DomainRef;
  readonly snapshot: SnapshotRef;
  /** The edited snapshot is to be the current one; then it is redefined even where nothing was changed. */
  readonly setCurrent: boolean;
}

/** Resolves with the snapshot as redefined, or nothing where nothing was changed. */
async function edit(session: Session, editing: Editing): Promise<SnapshotRef | undefined> {
  const { snapshots, snapshot, setCurrent } = editing;
  const read = () => snapshots.getXMLDesc(snapshot, XML.SECURE);
  let original = await read();
  await using file = await EditedFile.of(original);
  let text = await file.edit(process.env);
  for (;;) {
    if (text === original && !setCurrent) return undefined;
    const now = await read();
    const outcome = now === original ? await redefine(editing, text) : CHANGED;
    original = now;
    if ('snapshot' in outcome) return outcome.snapshot;
    const answer = await ask(session, outcome);
    if (answer === 'y') text = await file.edit(process.env);
  }
}

interface Refused {
  readonly message: string;
  readonly error: unknown;
}

const CHANGED: Refused = {
  message: 'The XML configuration was changed by another user.',
  error: undefined,
};

async function redefine(
  { snapshots, domain, setCurrent }: Editing,
  text: string,
): Promise<{ readonly snapshot: SnapshotRef } | Refused> {
  try {
    const flags = CREATE.REDEFINE | (setCurrent ? CREATE.CURRENT : 0);
    return { snapshot: await snapshots.createXML(domain, text, flags) };
  } catch (error) {
    return { message: 'Failed.', error };
  }
}

/** Resolves where it is to be tried again; without a terminal there is nobody who could say so. */
async function ask(session: Session, { message, error }: Refused): Promise<'y' | 'f'> {
  const final = (error as Error | undefined) ?? failure(message);
  if (process.stdin.isTTY && error) session.error(final.message);
  const answer = await askReedit(session, message);
  if (answer === 'y' || answer === 'f') return answer;
  throw answer === 'n' && error ? failure(message, error) : final;
}

/** What a new name in the document means is for the options to say; a snapshot that has not been asked for goes again. */
async function settle(
  snapshots: SnapshotCalls,
  before: SnapshotRef,
  { name, ...rest }: SnapshotRef,
  { rename, clone }: { readonly rename: boolean; readonly clone: boolean },
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
