/** `snapshot-create` and `snapshot-create-as`. */

import { readFile } from 'node:fs/promises';
import { createFlags } from '../../client/flags.ts';
import { snapshotDocument } from '../../client/snapshot-document.ts';
import { systemError } from '../../errors.ts';
import type { DomainRef } from '../../model/domain.ts';
import { decodeUtf8 } from '../../model/utf8.ts';
import { command, DOMAIN, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { PROGRESS_JSON, runJob } from '../job/job.ts';
import type { Session } from '../session.ts';
import { isCfg, readCfg } from '../snapshot-cfg/read.ts';
import { requestOf } from '../snapshot-cfg/request.ts';
import { foldersOf } from '../storage/daemon-folders.ts';
import { checkCreate } from './check-create.ts';
import { readDiskspec, readMemspec } from './snapshot-specs.ts';

/** Flags that both commands have, in virsh's order. */
const FLAGS = [
  { name: 'no-metadata', type: 'bool', help: 'take snapshot but create no metadata' },
  { name: 'halt', type: 'bool', help: 'halt domain after snapshot is created' },
  { name: 'disk-only', short: 'D', type: 'bool', help: 'capture disk state but not vm state' },
  { name: 'reuse-external', type: 'bool', help: 'reuse any existing external files' },
  { name: 'quiesce', type: 'bool', help: "quiesce guest's file systems" },
  { name: 'atomic', type: 'bool', help: 'require atomic operation' },
  { name: 'live', type: 'bool', help: 'take a live snapshot' },
  { name: 'validate', type: 'bool', help: 'validate the XML against the schema' },
  { name: 'check', type: 'bool', help: 'say what would be done, or why it would be refused, and change nothing' },
] as const;

function flagsOf(given: Given): number {
  const [noMetadata, diskOnly, reuseExternal] = [given['no-metadata'], given['disk-only'], given['reuse-external']];
  return createFlags({ ...given, noMetadata, diskOnly, reuseExternal });
}

/** Flags that both commands have, and those that only one has. */
type Given = Readonly<Record<(typeof FLAGS)[number]['name'], boolean>> & {
  readonly redefine?: boolean;
  readonly current?: boolean;
};

/** `xlsnap snapshot-create`, as in virsh; the file may also be an xl.snapshot.cfg(5), or libxl-json. */
export const SNAPSHOT_CREATE = command({
  description: 'Create a snapshot (disk and RAM) from XML',
  options: [
    DOMAIN,
    { name: 'xmlfile', type: 'string', help: 'domain snapshot XML, or xl.snapshot.cfg(5)' },
    { name: 'redefine', type: 'bool', help: 'redefine metadata for existing snapshot' },
    { name: 'current', type: 'bool', help: 'with redefine, set current snapshot' },
    ...FLAGS,
    { name: 'name', short: 'n', type: 'string', help: 'name of snapshot, without XML', named: true },
    JSON_OPTION,
    PROGRESS_JSON,
  ],
  async run(values, session) {
    exclusive(values, 'redefine', 'check');
    const domain = await session.domain(values.domain);
    const from = values.xmlfile;
    const text = from === undefined ? undefined : await readText(from);
    const asked = { name: values.name, flags: flagsOf(values) };
    const { xml, flags } =
      from === undefined || text === undefined
        ? { xml: documentOf(text, values.name), flags: asked.flags }
        : await readRequest(session, domain, { ...asked, from, text });
    await create(session, { ...values, domain, xml, from, flags });
  },
});

interface Asked {
  readonly from: string;
  readonly text: string;
  readonly name: string | undefined;
  readonly flags: number;
}

/** Reads a file of any of the three forms. */
async function readRequest(session: Session, domain: DomainRef, asked: Asked): ReturnType<typeof requestOf> {
  const { from, text, name, flags } = asked;
  if (isCfg(text)) return await requestOf(session, domain, readCfg(text, from), asked);
  const { isLibxlJson, readArgs } = await import('../libxl-json/args.ts');
  if (!isLibxlJson(text)) return { xml: documentOf(text, name), flags };
  const { memoryDir } = await foldersOf({}, session);
  const read = readArgs(text, { from, domain, memoryDir });
  return await requestOf(session, domain, read.cfg, { ...asked, flags: flags | read.flags });
}

function documentOf(xml: string | undefined, name: string | undefined): string {
  if (xml === undefined) {
    return snapshotDocument({ name });
  }
  if (name === undefined) return xml;
  throw failure("Option --name cannot be combined with an XML document: the snapshot's name is in its <name>");
}

/** `xlsnap snapshot-create-as`, as in virsh. */
export const SNAPSHOT_CREATE_AS = command({
  description: 'Create a snapshot (disk and RAM) from arguments',
  options: [
    DOMAIN,
    { name: 'name', type: 'string', help: 'name of snapshot' },
    { name: 'description', type: 'string', help: 'description of snapshot' },
    { name: 'print-xml', type: 'bool', help: 'print XML document rather than create' },
    ...FLAGS,
    { name: 'memspec', type: 'string', help: 'memory attributes: [file=]name[,snapshot=type]', named: true },
    {
      name: 'diskspec',
      type: 'argv',
      help: 'disk attributes: disk[,snapshot=type][,driver=type][,stype=type][,file=name]',
    },
    JSON_OPTION,
    PROGRESS_JSON,
  ],
  async run(values, session) {
    const domain = await session.domain(values.domain);
    const { name, description, memspec, diskspec } = values;
    const memory = memspec === undefined ? undefined : readMemspec(memspec);
    const xml = snapshotDocument({ name, description, memory, disks: diskspec.map(readDiskspec) });
    if (values['print-xml'] && values.json) session.json({ xml });
    else if (values['print-xml']) session.print(`${xml}\n`);
    else await create(session, { ...values, domain, xml, from: undefined, flags: flagsOf(values) });
  },
});

interface Creation {
  readonly domain: DomainRef;
  readonly xml: string;
  /** The file that the document was read from. */
  readonly from: string | undefined;
  readonly flags: number;
  /** Nothing is to be created. */
  readonly check: boolean;
  readonly json: boolean;
  readonly 'progress-json': boolean;
}

async function create(session: Session, { domain, xml, from, flags, json, ...rest }: Creation): Promise<void> {
  if (rest.check) return await checkCreate(session, { domain, xml, flags, json });
  const { snapshots } = await session.client();
  const created = await runJob(session, domain, () => snapshots.createXML(domain, xml, flags), rest);
  session.done(json, created, `Domain snapshot ${created.name} created${from === undefined ? '' : ` from '${from}'`}`);
}

async function readText(path: string): Promise<string> {
  try {
    return decodeUtf8(await readFile(path));
  } catch (error) {
    const what = (error as NodeJS.ErrnoException).syscall === 'open' ? 'open' : 'read';
    throw systemError(error, `Failed to ${what} file '${path}'`);
  }
}
