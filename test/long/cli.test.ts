/** xlsnap beside the real virsh: the same command lines, given to two daemons alike, print the same to the byte. */

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Output, runProgram, XLSNAP } from '../support/command-line.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
/** All lines, on two daemons; measured: 20 s on two busy cores. */
const RUNS_TIMEOUT_MS = 300_000;

/** A line's words; `[EDITOR]=program` before them. In this order: what one line does, the next one sees. */
const LINES: readonly (readonly string[])[] = [
  ['snapshot-list', 'test'],
  ['snapshot-list', 'test', '--tree'],
  ['snapshot-list', 'test', '--name'],
  ['snapshot-current', 'test'],
  ['snapshot-current', 'test', '--name'],
  ['snapshot-create-as', 'test', 's1', 'the first <one>'],
  ['snapshot-create-as', 'test', 's1'],
  ['snapshot-create-as', '--domain', 'test', '--name=s2', '--description', 'x & "y"', '--atomic'],
  ['snapshot-create-as', '1', 'ünïcode 漢字'],
  ['snapshot-create-as', UUID, 'S3 upper'],
  ['snapshot-create-as', 'test', 'tab\there'],
  ['snapshot-create', 'test', '/nosuch'],
  ['snapshot-create', 'test', '/tmp'],
  ['snapshot-create', 'test', '$FILES/s4.xml'],
  ['snapshot-create', 'test', '$FILES/broken.xml'],
  ['snapshot-create', 'test', '--redefine', '--no-metadata'],
  ['snapshot-create', 'test', '--current'],
  ['snapshot-create', 'nodomain', '/nosuch'],
  ['snapshot-revert', 'test', 's1'],
  ['snapshot-create-as', 'test', 'b1'],
  ['snapshot-revert', 'test', 's1', '--running', '--paused'],
  ['snapshot-revert', 'test', 'nosuch'],
  ['snapshot-revert', 'test'],
  ['snapshot-revert', 'test', 's1', '--current'],
  ['snapshot-revert', 'test', '--current', '--paused', '--force'],
  ['snapshot-revert', '--current', 'test', '--running'],
  ['snapshot-list', 'test'],
  ['snapshot-list', 'test', '--parent'],
  ['snapshot-list', 'test', '--tree'],
  ['snapshot-list', 'test', '--tree', '--from', 's2'],
  ['snapshot-list', 'test', '--tree', '--current'],
  ['snapshot-list', 'test', '--name', '--topological'],
  ['snapshot-list', 'test', '--roots'],
  ['snapshot-list', 'test', '--leaves', '--parent'],
  ['snapshot-list', 'test', '--no-leaves', '--metadata', '--internal', '--active'],
  ['snapshot-list', 'test', '--inactive'],
  ['snapshot-list', 'test', '--from', 's1', '--descendants', '--name'],
  ['snapshot-list', 'test', 's1'],
  ['snapshot-list', 'test', '--from', 'nosuch'],
  ['snapshot-list', 'test', '--from', ''],
  ['snapshot-list', 'test', '--current', '--from', 's1'],
  ['snapshot-list', 'test', '--descendants'],
  ['snapshot-list', 'test', '--tree', '--name'],
  ['snapshot-list', 'test', '--roots', '--current'],
  ['snapshot-list', 'test', '--tree', '--disk-only'],
  ['--quiet', 'snapshot-list', 'test'],
  ['-q', 'snapshot-current', 'test', 's2'],
  ['snapshot-list', '6695eb01-f6a4-8304-79aa-97f2502e1930'],
  ['snapshot-list', '4711'],
  ['snapshot-list', ''],
  ['snapshot-list'],
  ['snapshot-list', '--', 'test', '--from'],
  ['snapshot-list', 'test', '--from', 's1', '--from', 's2'],
  ['snapshot-list', 'test', '--from'],
  ['snapshot-list', 'test', '--tree=1'],
  ['snapshot-list', 'test', '--bogus'],
  ['snapshot-list', 'test', 's1', 's2'],
  ['snapshot-info', 'test', 's1'],
  ['snapshot-info', 'test', '--current'],
  ['snapshot-info', 'test', 's1', '--current'],
  ['snapshot-info', 'test'],
  ['snapshot-parent', 'test', 's2'],
  ['snapshot-parent', 'test', 's1'],
  ['snapshot-dumpxml', 'test', 's2'],
  ['snapshot-dumpxml', 'test', 's2', '--security-info'],
  ['snapshot-dumpxml', 'test', 's1', '--xpath', '/domainsnapshot/description'],
  ['snapshot-dumpxml', 'test', 's2', '--xpath', '//disks|//disk/@name|//name/text()'],
  ['snapshot-dumpxml', 'test', 's2', '--wrap', '--xpath', '//devices|//name'],
  ['snapshot-dumpxml', 'test', 's2', '--wrap', '--xpath', '//@type'],
  ['snapshot-dumpxml', 'test', 's2', '--xpath', '/'],
  ['snapshot-dumpxml', 'test', 's2', '--xpath', '//nosuch'],
  ['snapshot-dumpxml', 'test', 's2', '--xpath', 'string(//name)'],
  ['snapshot-dumpxml'],
  ['snapshot-current', 'test', '--name'],
  ['snapshot-current', 'test', '--security-info'],
  ['snapshot-current', 'test', 'nosuch'],
  ['snapshot-current', 'test', '--name', 's1'],
  ['snapshot-create-as', 'test', 'n', 'd', 'vda,snapshot=no', 'vdb,driver=qcow2,stype=block,file=/a,,b', '--print-xml'],
  ['snapshot-create-as', 'test', 'n', '--memspec', 'file=/m&,snapshot=external', '--print-xml'],
  ['snapshot-create-as', 'test', 'n', '--memspec', 'rel'],
  ['snapshot-create-as', 'test', 'n', '--diskspec', 'vda,stype=network'],
  ['snapshot-create-as', 'test', 'n', '--diskspec', 'vda,file=/a,file=/b'],
  ['snapshot-create-as', 'test', 'n', '--diskspec', 'hda'],
  ['snapshot-create-as', 'test', ''],
  ['-r', 'snapshot-create-as', 'test', 'n'],
  ['--readonly', 'snapshot-dumpxml', 'test', 's1', '--security-info'],
  ['EDITOR=true', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=true', 'snapshot-edit', 'test', 's1', '--current'],
  ['EDITOR=true', 'snapshot-edit', 'test', '--current'],
  ['EDITOR=true', 'snapshot-edit', 'test', 'nosuch'],
  ['EDITOR=true', 'snapshot-edit', 'test', 's1', '--rename', '--clone'],
  ['EDITOR=false', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=nosuch', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=exit 3;', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=kill -TERM $$;', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=sed -i s/first/1st/', 'snapshot-edit', 'test', 's1'],
  ['EDITOR=sed -i "s/<name>s2/<name>s9/"', 'snapshot-edit', 'test', 's2'],
  ['EDITOR=sed -i "s/<name>s2/<name>s9/"', 'snapshot-edit', 'test', 's2', '--clone'],
  ['EDITOR=sed -i "s/<name>b1/<name>b2/"', 'snapshot-edit', 'test', 'b1', '--rename'],
  ['snapshot-list', 'test', '--tree'],
  ['snapshot-delete', 'test', 's2', '--children', '--children-only'],
  ['snapshot-delete', 'test', 'nosuch'],
  ['snapshot-delete', 'test'],
  ['snapshot-delete', 'test', 's9', '--metadata'],
  ['snapshot-delete', 'test', 's2', '--children-only'],
  ['snapshot-delete', 'test', '--current'],
  ['snapshot-list', 'test', '--name'],
  ['nosuch'],
  ['help', 'nosuch'],
  ['--bogus', 'snapshot-list'],
];

const title = (line: readonly string[]): string => line.join(' ').replaceAll('\t', '\\t') || "''";

let files: string;
let outputs: { readonly virsh: readonly Output[]; readonly xlsnap: readonly Output[] };

beforeAll(async () => {
  files = await mkdtemp(join(tmpdir(), 'xlsnap-cli-'));
  await chmod(files, 0o755);
  await writeFile(join(files, 's4.xml'), '<domainsnapshot><name>s4</name></domainsnapshot>');
  await writeFile(join(files, 'broken.xml'), '<domainsnapshot>\n<name>s4</nam>');
  const [virsh, xlsnap] = await Promise.all([runAll(['virsh']), runAll(XLSNAP)]);
  outputs = { virsh, xlsnap };
}, RUNS_TIMEOUT_MS);

afterAll(() => rm(files, { recursive: true, force: true }));

/** The lines one after another, on a daemon of their own. */
async function runAll(program: readonly string[]): Promise<readonly Output[]> {
  await using daemon = await Xlsnapd.start();
  const results: Output[] = [];
  for (const line of LINES) {
    const [, editor] = /^EDITOR=(.*)/.exec(line[0] ?? '') ?? [];
    const words = (editor === undefined ? line : line.slice(1)).map((word) => word.replace('$FILES', files));
    const output = await runProgram(
      [...program, '-c', daemon.uri],
      words,
      editor === undefined ? {} : { EDITOR: editor },
    );
    results.push({ ...output, stdout: plain(output.stdout, daemon), stderr: plain(output.stderr, daemon) });
  }
  return results;
}

/** What differs from one daemon, minute or editing to the other. */
function plain(text: string, daemon: Xlsnapd): string {
  return text
    .replaceAll(daemon.home, '@HOME@')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000/g, 'TTTT-TT-TT TT:TT:TT +0000')
    .replace(/<creationTime>\d+/g, '<creationTime>T')
    .replace(/\/tmp\/(virsh|xlsnap)\w{6}\.xml/g, '/tmp/FILE.xml');
}

test.each(LINES.map((line, at) => [title(line), at] as const))('%s', (_title, at) => {
  expect(outputs.xlsnap[at]).toEqual(outputs.virsh[at]);
});

test('the lines have done what they were meant to', () => {
  const of = (line: string): Output | undefined => outputs.virsh[LINES.findIndex((words) => title(words) === line)];
  expect(of('snapshot-create-as test s1 the first <one>')?.status).toBe(0);
  expect(of('EDITOR=sed -i s/first/1st/ snapshot-edit test s1')?.stdout).toBe('Snapshot s1 edited.\n\n');
  expect(of('EDITOR=sed -i "s/<name>s2/<name>s9/" snapshot-edit test s2 --clone')?.stdout).toContain('cloned to s9');
  expect(of('snapshot-delete test --current')?.status).toBe(0);
  const failed = outputs.virsh.filter(({ status }) => status !== 0).length;
  expect(Math.min(failed, LINES.length - failed)).toBeGreaterThan(40);
});
