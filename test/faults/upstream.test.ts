/** Faults in the steps of snapshots that go through libvirtd: virDomainSave, the disks, virDomainRestore. */

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { folderForLibvirtd, type Libvirtd, startLibvirtd } from '../support/daemons/libvirtd.ts';
import { Xlsnapd } from '../support/daemons/xlsnapd.ts';
import { snapshotsIn } from '../support/disks/images.ts';
import { contentsOf } from '../support/folder.ts';
import { newImage } from '../support/hosts/embedded.ts';
import type { Ran } from '../support/virsh.ts';
import { StepListener } from './steps.ts';

const UUID = '11111111-2222-3333-4444-777777777777';
const SETTLE_MS = 30_000;
const HANG_MS = 1_500;
const POLL_MS = 20;
const LIMIT_MS = 600_000;

let libvirtd: Libvirtd;
let daemon: Xlsnapd;
let home: string;
let steps: StepListener;

const start = (): Promise<Xlsnapd> =>
  Xlsnapd.start({ home, args: ['--upstream', libvirtd.socket], env: { XLSNAPD_STEPS: join(home, 'steps') } });
const image = (): string => join(home, 'one.qcow2');
const list = (folder: string) => contentsOf(join(home, folder));

beforeAll(async () => {
  libvirtd = await startLibvirtd();
  home = await folderForLibvirtd();
  steps = await StepListener.listen(join(home, 'steps'));
  await newImage(image());
  daemon = await start();
  const xml = join(home, 'one.xml');
  await writeFile(
    xml,
    `<domain type='test'><name>one</name><uuid>${UUID}</uuid><memory>4096</memory><os><type>hvm</type></os><devices>
     <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image()}'/><target dev='vda'/></disk>
     </devices></domain>`,
  );
  await daemon.ok('define', xml);
  await daemon.ok('start', 'one');
  await daemon.ok('snapshot-create-as', 'one', 'base');
});

afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await steps[Symbol.asyncDispose]();
  await libvirtd[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

/** Each says whether it struck. */
const FAULTS: Readonly<Record<string, () => Promise<boolean>>> = {
  'the daemon is killed': async () => process.kill(daemon.pid, 'SIGKILL'),
  'the daemon is told to stop': async () => process.kill(daemon.pid, 'SIGTERM'),
  'the job is cancelled': async () => (await daemon.virsh('domjobabort', 'one')).status === 0,
  'libvirtd hangs for a while': async () => {
    const pid = Number(await readFile(join(libvirtd.directory, 'libvirtd.pid'), 'utf8'));
    process.kill(pid, 'SIGSTOP');
    void sleep(HANG_MS).then(() => process.kill(pid, 'SIGCONT'));
    return true;
  },
};

const SUBJECTS = {
  create: ['snapshot-create-as', 'one', 'new'],
  revert: ['snapshot-revert', 'one', 'base'],
  delete: ['snapshot-delete', 'one', 'new'],
} as const;

async function settled(): Promise<void> {
  for (const end = Date.now() + SETTLE_MS; Date.now() < end; await sleep(POLL_MS)) {
    if (!daemon.alive || (await list('state/journal')).length === 0) return;
  }
}

/** What is not as it must be. */
async function wrong({ status, stderr }: Ran, subject: string): Promise<readonly string[]> {
  const found: string[] = [];
  if (status !== 0 && !/^error: \S/m.test(stderr)) found.push(`no reason: '${stderr}'`);
  const listed = (await daemon.ok('snapshot-list', 'one', '--name')).split('\n').filter(Boolean).sort();
  if (!listed.includes('base')) found.push('base is lost');
  if (subject === 'create' && status === 0 && !listed.includes('new')) found.push('new is lost');
  if (subject === 'delete' && status === 0 && listed.includes('new')) found.push('new is still listed');
  const state = await daemon.ok('domstate', 'one');
  // A revert that was interrupted is named by the next daemon, with the command that finishes it.
  const told = daemon.log.includes('the domain is shutoff; to finish it: virsh snapshot-revert one base');
  if (state !== 'running' && !told && !/is shut off|could not be restored|is left/.test(stderr))
    found.push(`the domain is ${state}`);
  const expect = (what: string, there: readonly string[], wanted: readonly string[]): void => {
    if ([...there].sort().join() !== wanted.join())
      found.push(`${what}: ${there.join(', ')} where ${wanted.join(', ')} are listed`);
  };
  expect('in the image', await snapshotsIn(image()), listed);
  expect(
    'memory images',
    await list(`memory/${UUID}`),
    listed.map((name) => `${name}.save`),
  );
  expect(
    'scratch',
    (await list('memory')).filter((name) => name.endsWith('.save')),
    [],
  );
  for (const name of listed) {
    const reverted = await daemon.virsh('snapshot-revert', 'one', name);
    if (reverted.status !== 0) found.push(`no revert to ${name}: ${reverted.stderr}`);
  }
  if (listed.includes('new')) await daemon.ok('snapshot-delete', 'one', 'new');
  await daemon.ok('snapshot-create-as', 'one', 'next');
  await daemon.ok('snapshot-delete', 'one', 'next');
  return found;
}

test(
  'a fault at any step of a snapshot through libvirtd loses nothing and leaves nothing',
  async () => {
    const complaints: string[] = [];
    let struck = 0;
    for (const [subject, words] of Object.entries(SUBJECTS)) {
      const prepare = async (): Promise<void> => {
        if (subject === 'delete') await daemon.ok('snapshot-create-as', 'one', 'new');
      };
      const phases: string[] = [];
      await prepare();
      steps.atStep = async ({ phase }) => void phases.push(phase);
      await daemon.ok(...words);
      steps.atStep = async () => {};
      if (subject === 'create') await daemon.ok('snapshot-delete', 'one', 'new');
      for (const phase of phases) {
        for (const [fault, strike] of Object.entries(FAULTS)) {
          await prepare();
          let hit = false;
          steps.atStep = async (step) => {
            if (step.phase !== phase) return;
            steps.atStep = async () => {};
            hit = await strike().catch(() => false);
          };
          const ran = await daemon.virsh(...words);
          steps.atStep = async () => {};
          if (hit) struck += 1;
          if (fault.startsWith('the daemon')) {
            for (const end = Date.now() + SETTLE_MS; daemon.alive && Date.now() < end; ) await sleep(POLL_MS);
          }
          await settled();
          if (!daemon.alive) daemon = await start();
          const found = await wrong(ran, subject);
          process.stdout.write(`${subject} | ${phase} | ${fault} | ${hit ? 1 : 0} | ${ran.stderr || 'success'}\n`);
          complaints.push(...found.map((text) => `${subject} | ${phase} | ${fault}: ${text}`));
        }
      }
    }
    process.stdout.write(`faults injected through libvirtd: ${struck}, complaints: ${complaints.length}\n`);
    expect(complaints).toEqual([]);
  },
  LIMIT_MS,
);
