/** libvirt's recorded commands, with xlsnap in virsh's place for all that is about snapshots. */

import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { type RecordedCommand, recorded, runCase } from '../support/oracle.ts';
import { DIFFERENCES, type Difference } from './oracle-differences.ts';

const CASES = ['t01-basic', 't02-tree', 't04-createas', 't07-edit'];
/** One case; measured: 40 s on two busy cores. */
const CASE_TIMEOUT_MS = 900_000;

function refused(where: string, error: string): NonNullable<Difference['expected']> {
  const answer = { stdout: '\n', stderr: `error: ${error}\n`, rc: 1 };
  return (command, at) => (at === where ? { ...command, ...answer } : command);
}

/** Where xlsnap itself is not as virsh. The daemon's own differences are those of the embedded host. */
const OURS: readonly Difference[] = [
  {
    reason: 'its temporary files have its own name',
    compared: (command) => ({
      ...command,
      stderr: command.stderr.replace(/\S+\/(?:virsh\w{6}|xlsnap\w{6})\.xml/g, 'FILE'),
    }),
  },
  {
    reason: 'virsh writes XML that is none for an empty disk specification',
    expected: refused('t04 035', 'unable to parse diskspec: '),
  },
  {
    reason: 'virsh tries again without --halt, for servers that do not know it',
    expected: refused(
      't04 058',
      "Flags 'VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE' and 'VIR_DOMAIN_SNAPSHOT_CREATE_HALT' are mutually exclusive",
    ),
  },
];

const differences = [...DIFFERENCES.filter(({ host }) => host === undefined || host === 'embedded'), ...OURS];

let folder: string;
let programs: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'xlsnap-oracle-'));
  await chmod(folder, 0o755);
  programs = join(folder, 'bin');
  await mkdir(programs);
  const words = XLSNAP.map((word) => `'${word}'`).join(' ');
  await writeFile(
    join(programs, 'virsh'),
    `#!/bin/bash
for word in "$@"; do
  case $word in snapshot-*) exec ${words} "$@" ;; esac
done
PATH=\${PATH#*:} exec virsh "$@"
`,
    { mode: 0o755 },
  );
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test.each(CASES)(
  '%s: every command answers as recorded',
  async (name) => {
    const directory = join(folder, name);
    const home = join(directory, 'home');
    await mkdir(home, { recursive: true });
    await using xlsnapd = await Xlsnapd.start({ home });
    const answers = await runCase(name, { uri: xlsnapd.uri, flavour: 'xen', directory, programs });
    const expected = (command: RecordedCommand): RecordedCommand => {
      const at = `${name.slice(0, 3)} ${String(command.number).padStart(3, '0')}`;
      return differences.reduce((rest, difference) => difference.expected?.(rest, at) ?? rest, command);
    };
    const compared = (command: RecordedCommand): RecordedCommand =>
      differences.reduce((rest, difference) => difference.compared?.(rest) ?? rest, command);
    expect(answers.map(compared)).toEqual((await recorded(name)).map(expected).map(compared));
  },
  CASE_TIMEOUT_MS,
);
