/** Until Xen 4.19 the monitor of a guest is stopped from before the suspend until after the resume, whatever happens between. */

import { beforeEach, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { ConfigFiles } from '../../../../src/hosts/xl/config-files.ts';
import { XlDomains } from '../../../../src/hosts/xl/domains.ts';
import type { Monitors } from '../../../../src/hosts/xl/monitors.ts';
import { LibxlReader } from '../../../../src/hosts/xl/reading.ts';
import { type LibxlSaves, XlSaves } from '../../../../src/hosts/xl/saves.ts';
import type { SavePhase } from '../../../../src/libxl/save.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import type { LibxlDomainSnapshotArgs } from '../../../../src/model/libxl.ts';
import type { Job } from '../../../../src/snapshots/ports/jobs.ts';
import { FakeXl } from '../../../support/hosts/fake-xl.ts';

const UUID = '6695eb01-f6a4-8304-79aa-97f2502e193f';
const WITH_MEMORY: LibxlDomainSnapshotArgs = { memory: true, memory_path: '/m/s1.save' };

let steps: string[];
let logged: string[];
let hasMonitor: boolean;
let failure: LibvirtError | undefined;
let domain: Domain;

beforeEach(() => {
  steps = [];
  logged = [];
  hasMonitor = true;
  failure = undefined;
});

function savesOn({ monitorsLeave }: { readonly monitorsLeave: boolean }): XlSaves {
  const xl = new FakeXl();
  const id = xl.run({ c_info: { type: 'pvh', name: 'vm', uuid: UUID }, b_info: {} });
  domain = { ref: { name: 'vm', uuid: UUID, id }, state: 'running', persistent: false };
  const files = new ConfigFiles(xl, [], () => {});
  const domains = new XlDomains({
    reader: new LibxlReader(xl.startHelper),
    files,
    events: { emit: () => {}, expect: () => ({ [Symbol.dispose]: () => {} }) },
  });
  const libxl: Partial<LibxlSaves> = {
    domainSnapshotSave: async (domid, name, args, { phase }) => {
      const phases: readonly SavePhase[] = args.memory ? ['saving', 'suspended', 'paused', 'disks-done'] : ['disks'];
      for (const each of phases) await phase?.(each);
      steps.push(`saved ${domid}`);
      if (failure) throw failure;
      return { name };
    },
    domainSnapshotRecover: async (domid, phase) => void steps.push(`recovered ${domid} in ${phase}`),
  };
  const monitors: Pick<Monitors, 'hold' | 'releaseLeft'> = {
    hold: async (domid) => {
      if (!hasMonitor) return undefined;
      steps.push(`stop the monitor of ${domid}`);
      return { [Symbol.asyncDispose]: async () => void steps.push('continue it') };
    },
    releaseLeft: async (isSettled) => {
      steps.push(`continue those left of ${[1, 2, 3].filter(isSettled)}`);
    },
  };
  return new XlSaves({
    domains,
    libxl: libxl as LibxlSaves,
    monitors: monitors as Monitors,
    monitorsLeave,
    log: (text) => logged.push(text),
  });
}

const job: Job = {
  signal: new AbortController().signal,
  phase: async (name) => void steps.push(name),
  plan: async () => {},
  definition: async () => {},
  progress: () => {},
};

test('the monitor is stopped when the journal has the save, and continued after it', async () => {
  await savesOn({ monitorsLeave: true }).save(domain, 's1', WITH_MEMORY, job);
  expect(steps).toEqual([
    ...['saving', 'stop the monitor of 1', 'suspended', 'paused', 'disks-done', 'saved 1', 'continue it'],
  ]);
  expect(logged).toEqual([]);
});

test('it is continued after a failure, too', async () => {
  failure = new LibvirtError('OPERATION_FAILED', 'no space');
  await expect(savesOn({ monitorsLeave: true }).save(domain, 's1', WITH_MEMORY, job)).rejects.toThrow('no space');
  expect(steps.at(-1)).toBe('continue it');
});

test.each([
  ['nothing is suspended', true, {}],
  ['monitors stay by themselves (Xen 4.20)', false, WITH_MEMORY],
])('it is not stopped if %s', async (_, monitorsLeave, args) => {
  await savesOn({ monitorsLeave }).save(domain, 's1', args, job);
  expect(steps).not.toContain('stop the monitor of 1');
});

test('a guest without a monitor is saved, and the log says what that means', async () => {
  hasMonitor = false;
  await savesOn({ monitorsLeave: true }).save(domain, 's1', WITH_MEMORY, job);
  expect(logged).toEqual([expect.stringMatching(/domain 'vm' has no monitor of xl.*xl destroy 1/)]);
});

test('a guest that was started again since is not saved', async () => {
  const saves = savesOn({ monitorsLeave: true });
  const old = { ...domain, ref: { ...domain.ref, id: 9 } };
  await expect(saves.save(old, 's1', WITH_MEMORY, job)).rejects.toMatchObject({ code: 'OPERATION_INVALID' });
  expect(steps).toEqual([]);
});

test('after a crash of xlsnapd the guest runs first, and then its monitor and those of guests that are gone', async () => {
  const saves = savesOn({ monitorsLeave: true });
  await saves.recover(domain, { operation: 'create', phase: 'suspended' });
  expect(steps).toEqual(['recovered 1 in suspended', 'continue those left of 1,2,3']);
  steps = [];
  await saves.recover({ ...domain, ref: { ...domain.ref, id: -1 } }, { operation: 'create', phase: 'saving' });
  expect(steps).toEqual(['continue those left of 2,3']);
});
