/** virDomainSave and virDomainManagedSave of domains on overlays: what is refused, what is recorded, what is completed later. */

import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import { XEN_SAVE_MAGIC } from '../../../../src/files/saved-domain.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { Jobs } from '../../../../src/snapshots/jobs.ts';
import type { PlannedSave, RecordedSave } from '../../../../src/snapshots/ports/saves.ts';
import { SaveService } from '../../../../src/snapshots/saves/service.ts';
import { refusal } from '../../../support/refusal.ts';
import { until } from '../../../support/until.ts';

const REF = { name: 'g', uuid: '11111111-2222-3333-4444-777777777777', id: 5 };
const DOMAIN: Domain = { ref: REF, state: 'running', persistent: true };
const REQUEST = { to: '/saved', dxml: null, flags: 0 };

let lines: string[];
let recorded: RecordedSave[];
let failure: LibvirtError | undefined;
let busy: Promise<void> | undefined;
let jobs: Jobs;

const step = (line: string): void => void lines.push(line);

beforeEach(() => {
  lines = [];
  recorded = [];
  failure = undefined;
  busy = undefined;
  jobs = new Jobs({} as ConstructorParameters<typeof Jobs>[0]);
});

async function open(): Promise<SaveService> {
  const host = {
    lookup: async () => DOMAIN,
    idle: async (_: unknown, { waiting }: { waiting?(): void }) => {
      if (busy) waiting?.();
      await busy;
    },
  };
  const context = { host, jobs, ownFiles: ['/own'], log: step } as unknown as SnapshotContext;
  return await SaveService.open(context, {
    records: {
      load: async () => recorded,
      write: async ({ path }) => step(`record ${path}`),
      remove: async () => step('forget'),
    },
    saves: {
      plan: async ({ ref }, to): Promise<PlannedSave> => {
        step('plan');
        return { domain: ref, path: to ?? '/managed', managed: to === undefined, moves: [] };
      },
      carryOut: async ({ path }) => {
        step(`save ${path}`);
        if (failure) throw failure;
      },
      finish: async () => {
        step('finish');
        if (failure) throw failure;
        return 'it is complete now';
      },
    },
  });
}

test('a save is recorded before anything is touched, and forgotten when it is whole', async () => {
  const service = await open();
  await service.save(REF, REQUEST);
  await service.managedSave(REF, 0);
  expect(lines).toEqual([
    ...['plan', 'record /saved', 'save /saved', 'forget'],
    ...['plan', 'record /managed', 'save /managed', 'forget'],
  ]);
});

test('what has failed is forgotten, unless it may still be completed', async () => {
  const service = await open();
  failure = new LibvirtError('OPERATION_FAILED', 'no');
  await refusal(service.save(REF, REQUEST));
  failure = new LibvirtError('OPERATION_FAILED', 'no', { reason: 'save-unfinished' });
  await refusal(service.save(REF, REQUEST));
  expect(lines.filter((line) => line === 'forget')).toHaveLength(1);
  expect(lines.at(-1)).toBe('save /saved');
});

test('what the xen driver refuses is refused in its words, and so are our own files, before anything is touched', async () => {
  const service = await open();
  const refused = async (change: Partial<{ to: string; dxml: string; flags: number }>) =>
    (await refusal(service.save(REF, { ...REQUEST, ...change }))).code;
  expect(await refused({ flags: 4 })).toBe('INVALID_ARG');
  expect(await refused({ dxml: '<domain/>' })).toBe('ARGUMENT_UNSUPPORTED');
  expect(await refused({ to: 'saved' })).toBe('INVALID_ARG');
  expect(await refused({ to: '/own/x' })).toBe('CONFIG_UNSUPPORTED');
  expect((await refusal(service.managedSave(REF, 1))).code).toBe('INVALID_ARG');
  jobs.holdDisk(REF.uuid, 'xvda', true);
  expect((await refusal(service.save(REF, REQUEST))).message).toContain('domain has active block job');
  expect(lines).toEqual([]);
});

test('a file that is not what a save of the domain has left is not written over on the way', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'saves-'));
  try {
    const service = await open();
    await writeFile(join(folder, 'saved.partial'), 'of somebody else');
    const { code, message } = await refusal(service.save(REF, { ...REQUEST, to: join(folder, 'saved') }));
    expect(code).toBe('CONFIG_UNSUPPORTED');
    expect(message).toContain(`is written as '${folder}/saved.partial' first`);
    expect(lines).toEqual([]);
    const left = `${XEN_SAVE_MAGIC}<domain><name>renamed</name><uuid>${REF.uuid}</uuid></domain>`;
    await writeFile(join(folder, 'saved.partial'), left);
    await service.save(REF, { ...REQUEST, to: join(folder, 'saved') });
    expect(lines).toContain(`save ${folder}/saved`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('saves of an earlier daemon are completed before clients are served, and those that fail stay recorded', async () => {
  recorded = [{ domain: REF, path: '/saved', managed: false, moves: [], sameBoot: true }];
  await open();
  const interrupted = "save of domain 'g' to '/saved' was interrupted";
  expect(lines.splice(0)).toEqual(['finish', `${interrupted}: it is complete now`, 'forget']);
  failure = new LibvirtError('OPERATION_FAILED', 'no');
  await open();
  expect(lines).toEqual(['finish', expect.stringContaining(`${interrupted} and could not be completed`)]);
});

test('one that libvirtd still carries out is completed afterwards, and other operations on the domain wait', async () => {
  recorded = [{ domain: REF, path: '/saved', managed: false, moves: [], sameBoot: true }];
  let end = (): void => {};
  busy = new Promise((resolve) => {
    end = resolve;
  });
  const service = await open();
  const next = service.save(REF, REQUEST);
  expect(lines.splice(0)).toEqual([expect.stringContaining('when libvirtd has finished with the domain')]);
  end();
  await next;
  await until(() => lines.includes('save /saved'));
  expect(lines.slice(0, 3)).toEqual(['finish', expect.stringContaining('it is complete now'), 'forget']);
});

test('what is at the path may be a file that is replaced, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'xlsnap-saves-'));
  try {
    const service = await open();
    await writeFile(join(folder, 'saved'), 'old');
    await service.save(REF, { ...REQUEST, to: join(folder, 'saved') });
    await symlink('saved', join(folder, 'link'));
    for (const to of [join(folder, 'link'), '/dev/null', folder]) {
      const refused = await refusal(service.save(REF, { ...REQUEST, to }));
      expect(refused).toMatchObject({
        code: 'OPERATION_INVALID',
        message: expect.stringContaining('not a regular file'),
      });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
