/** Faults in the steps around a guest's suspend, on real Xen: afterwards the guest counts, and nothing is lost or left. */

import { beforeAll, expect, test } from '@jest/globals';
import { LAB_TEST_TIMEOUT_MS, type LabGuest, type TextResult, useLab } from '../support/lab/lab.ts';
import { StepFaults } from '../support/lab/step-faults.ts';

const lab = useLab(async (host) => {
  await host.sh(`virsh -c xen:///system destroy ${guest.name}; virsh -c xen:///system undefine ${guest.name}`);
  await host.stopXlsnapd();
});

const IMAGE = '/var/lib/libvirt/images/g-faults.qcow2';

let faults: StepFaults;

const guest: LabGuest = { name: 'g-faults', type: 'pvh', memoryMiB: 96, disks: [{ format: 'qcow2', path: IMAGE }] };

/** What is done in dom0 while the daemon stands at a step. */
const FAULTS = {
  'xlsnapd is killed': 'kill -9 $(< /run/lab/xlsnapd.pid)',
  'the libxl helper is killed': 'pkill -9 -P $(< /run/lab/xlsnapd.pid) -f libxl/helper',
  'libvirtd is killed': 'pkill -9 -x libvirtd',
  'the job is cancelled': `virsh -c xen:///system domjobabort ${guest.name}`,
} as const;

const PHASES = ['saving', 'suspended', 'paused', 'disks-done', 'metadata'] as const;

const PAIRS = PHASES.flatMap((phase) =>
  Object.keys(FAULTS).map((fault) => ({ phase, fault: fault as keyof typeof FAULTS })),
);

interface Trial {
  readonly struck: boolean;
  readonly answer: TextResult;
  readonly wrong: readonly string[];
}

const last = (): number => lab().ticks(guest.name).at(-1) ?? 0;
const names = (text: string): readonly string[] => text.split('\n').filter(Boolean);
const virsh = (...words: readonly string[]) => lab().virsh(...words);

/** Files and snapshots of the guest, wherever they may lie. */
const remains = async (): Promise<readonly string[]> => {
  const files = await lab().must(
    'find /var/lib/libvirt/libxl/snapshot /var/lib/libvirt/libxl/snapshot-memory -type f ! -name .xlsnapd.lock 2>/dev/null || true',
  );
  const info = JSON.parse(await lab().must(`qemu-img info -U --output=json ${IMAGE}`)) as {
    snapshots?: readonly { name: string }[];
  };
  return [...names(files), ...(info.snapshots ?? []).map(({ name }) => name)];
};

/** What is not as it must be: the guest counts, what is listed can be reverted to, and nothing else is there. */
const wrongAfter = async (answer: TextResult, before: number, name: string): Promise<readonly string[]> => {
  const wrong: string[] = [];
  if (answer.rc !== 0 && !/^error: \S/m.test(answer.stderr)) wrong.push(`no reason: '${answer.stderr}'`);
  const state = (await virsh('domstate', guest.name)).stdout.trim();
  if (state !== 'running') wrong.push(`the domain is ${state}`);
  const counted = last();
  await lab()
    .waitForTick(guest.name, counted + 1)
    .catch((error: Error) => wrong.push(error.message));
  const listed = names((await virsh('snapshot-list', guest.name, '--name')).stdout);
  if (answer.rc === 0 && !listed.includes(name)) wrong.push('what was reported as taken is not listed');
  if (!listed.includes(name)) {
    const left = await remains();
    return left.length === 0 ? wrong : [...wrong, `left: ${left.join(', ')}`];
  }
  const runs = lab().tickRuns(guest.name).length;
  const reverted = await virsh('snapshot-revert', guest.name, name);
  if (reverted.rc !== 0) return [...wrong, reverted.stderr];
  await lab().waitForTicks(guest.name, () => lab().tickRuns(guest.name).length > runs);
  const first = lab().tickRuns(guest.name).at(-1)?.[0] ?? 0;
  if (first < before || first > counted + 1)
    wrong.push(`reverted to tick ${first}, taken between ${before} and ${counted}`);
  const deleted = await virsh('snapshot-delete', guest.name, name);
  if (deleted.rc !== 0) return [...wrong, deleted.stderr];
  const left = await remains();
  return left.length === 0 ? wrong : [...wrong, `left: ${left.join(', ')}`];
};

const strike = (phase: string, command: string, name: string) =>
  faults.strike({ phase, time: 1 }, command, 'snapshot-create-as', guest.name, name);

const attempt = async (phase: string, command: string, name: string): Promise<Trial> => {
  const before = last();
  const { struck, answer } = await strike(phase, command, name);
  return { struck, answer, wrong: await wrongAfter(answer, before, name) };
};

beforeAll(async () => {
  faults = await StepFaults.start(lab());
  await lab().defineGuest(guest);
  await lab().startGuest(guest.name);
}, LAB_TEST_TIMEOUT_MS);

test(
  'a fault at any step around the suspend leaves a guest that counts, and no half a snapshot',
  async () => {
    const complaints: string[] = [];
    let struck = 0;
    for (const [index, { phase, fault }] of PAIRS.entries()) {
      const trial = await attempt(phase, FAULTS[fault], `s${index}`);
      if (trial.struck) struck += 1;
      const said = trial.answer.rc === 0 ? 'success' : trial.answer.stderr.trim().replaceAll('\n', '; ');
      process.stdout.write(`${phase} | ${fault} | ${trial.struck ? 1 : 0} | ${said}\n`);
      complaints.push(...trial.wrong.map((text) => `${phase} | ${fault}: ${text}`));
      for (const text of trial.wrong) process.stdout.write(`    ${text}\n`);
    }
    process.stdout.write(`faults injected on Xen: ${struck}, survived: ${struck - complaints.length}\n`);
    expect(complaints).toEqual([]);
    expect(struck).toBe(PAIRS.length);
  },
  3 * LAB_TEST_TIMEOUT_MS,
);

test.each(['saving', 'suspended', 'paused', 'disks-done'])(
  'libvirtd notices the shutdown of a guest that was recovered after xlsnapd was killed in phase %s',
  async (phase) => {
    const { struck } = await strike(phase, FAULTS['xlsnapd is killed'], 'killed');
    expect(struck).toBe(true);
    await lab().waitForTick(guest.name, last() + 1);
    await lab().ok('shutdown', guest.name);
    await lab().must(`until_true 120 shut_off ${guest.name}`);
    expect(await lab().ok('domstate', guest.name, '--reason')).toBe('shut off (shutdown)');
    expect(await remains()).toEqual([]);
    await lab().startGuest(guest.name);
  },
  LAB_TEST_TIMEOUT_MS,
);

test(
  'a save helper of libxl that ends with an error',
  async () => {
    await lab().stopXlsnapd();
    await faults.startXlsnapd('LIBXL_SAVE_HELPER=/bin/false');
    const before = last();
    const answer = await virsh('snapshot-create-as', guest.name, 'helper');
    expect(answer.rc).toBe(1);
    await faults.mended();
    expect(await wrongAfter(answer, before, 'helper')).toEqual([]);
  },
  LAB_TEST_TIMEOUT_MS,
);
