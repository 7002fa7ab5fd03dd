/**
 * Faults between the layers that a delete merges, on real Xen: the guest keeps running, both definitions name images that are
 * there, what is recorded of its overlays is right, and the same delete completes the merge.
 */

import { beforeAll, expect, test } from '@jest/globals';
import { useLab } from '../support/lab/lab.ts';
import { MatrixGuest } from '../support/lab/matrix-guest.ts';
import { type Moment, StepFaults } from '../support/lab/step-faults.ts';

const lab = useLab(async (host) => {
  await guest.remove();
  await host.stopXlsnapd();
});

let guest: MatrixGuest;
let faults: StepFaults;

/** Each phase once for each of the two disks. */
const MOMENTS: readonly Moment[] = ['delete', 'merged', 'moved'].flatMap((phase) =>
  [1, 2].map((time) => ({ phase, time })),
);

const FAULTS = {
  'xlsnapd is killed': 'kill -9 $(< /run/lab/xlsnapd.pid)',
  'the job is cancelled': 'virsh -c xen:///system domjobabort matrix-pvh',
} as const;

beforeAll(async () => {
  faults = await StepFaults.start(lab());
  guest = new MatrixGuest(lab(), 'pvh');
});

test.each(
  MOMENTS.flatMap(({ phase, time }) =>
    Object.entries(FAULTS).map(([fault, command]) => ({ phase, time, fault, command })),
  ),
)('phase $phase, time $time: $fault', async ({ phase, time, command }) => {
  await guest.keeping(async () => {
    await lab().ok(...guest.create('e1', { memory: 'none', disks: ['external', 'external'] }));
    await guest.goesOn(2);
    const { struck, answer } = await faults.strike({ phase, time }, command, 'snapshot-delete', guest.name, 'e1');
    expect(struck).toBe(true);
    expect(`${answer.stdout}${answer.stderr}`).toMatch(/^(Domain snapshot e1 deleted|error: \S)/m);
    await guest.goesOn();
    const { tips, next, files } = await guest.look();
    expect(next).toEqual(tips);
    for (const tip of tips) expect(files).toContain(tip);
    if ((await lab().ok('snapshot-list', guest.name, '--name')).includes('e1')) {
      await lab().ok('snapshot-delete', guest.name, 'e1');
    }
    await guest.goesOn();
    await guest.isAsBefore();
  });
});

/*
 * The guest writes a count to both disks before it goes on to the next one, so that neither has lost one if the images that the
 * definitions name have the last count, or the one before it.
 */
test.each([
  { phase: 'delete', time: 1 },
  { phase: 'merged', time: 1 },
  { phase: 'delete', time: 2 },
  { phase: 'moved', time: 2 },
])('phase $phase, time $time: the device model is killed, without which no disk can be written to', async (moment) => {
  await guest.keeping(async () => {
    const { name } = guest;
    await lab().ok(...guest.create('e1', { memory: 'none', disks: ['external', 'external'] }));
    await guest.goesOn(2);
    const kill = `kill -9 $(xenstore-read /local/domain/$(xl domid ${name})/image/device-model-pid)`;
    const { struck, answer } = await faults.strike(moment, kill, 'snapshot-delete', name, 'e1');
    expect(struck).toBe(true);
    if (answer.rc !== 0) expect(answer.stderr).toContain(`shut the guest off first: virsh destroy ${name}`);
    await lab().ok('destroy', name);
    const { next, files } = await guest.look();
    for (const image of next) expect(files).toContain(image);
    for (const image of next) expect([guest.tick, guest.tick - 1]).toContain(await lab().diskCount(image));
    expect(await guest.goesBack(() => lab().ok('start', name))).toBe(1);
    if (answer.rc !== 0) await lab().ok('snapshot-delete', name, 'e1');
    await guest.goesOn();
    await guest.isAsBefore();
  });
});
