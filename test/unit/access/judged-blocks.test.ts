import { expect, test } from '@jest/globals';
import type { Judge } from '../../../src/access/acl.ts';
import { judgedBlocks, judgedGuests } from '../../../src/access/judged-blocks.ts';
import { LibvirtError } from '../../../src/errors.ts';
import type { BlockApi, GuestApi } from '../../../src/snapshots/api.ts';

const ref = { name: 'g', uuid: '11111111-1111-1111-1111-111111111111', id: 4 };
const commit = { disk: 'xvda', top: undefined, base: undefined, flags: 4 };

/** remote_protocol.x, `@acl`. */
const CALLS: readonly (readonly [keyof BlockApi, string, (api: BlockApi) => Promise<unknown>])[] = [
  ['commit', 'block-write', (api) => api.commit(ref, commit, 0n)],
  ['pull', 'block-write', (api) => api.pull(ref, { disk: 'xvda', flags: 0 }, 0n)],
  [
    'copy',
    'block-write',
    (api) =>
      api.copy(ref, {
        ...{ disk: 'xvda', destination: '<disk/>', flags: 0, bandwidth: 0n },
        ...{ bytes: true, granularity: 0, bufferSize: 0n },
      }),
  ],
  ['jobInfo', 'read', (api) => api.jobInfo(ref, 'xvda', 0)],
  ['abort', 'write', (api) => api.abort(ref, 'xvda', 0)],
  ['setSpeed', 'write', (api) => api.setSpeed(ref, 'xvda', 0n, 0)],
  ['resize', 'block-write', (api) => api.resize(ref, 'xvda', 1n, 0)],
  ['blockInfo', 'read', (api) => api.blockInfo(ref, 'xvda', 0)],
];

test.each(CALLS)('%s needs domain:%s, and without it nothing is done', async (name, permission, call) => {
  const done: string[] = [];
  const api = Object.fromEntries(
    CALLS.map(([each]) => [each, async () => void done.push(each)]),
  ) as unknown as BlockApi;
  const judgeOf = (granted: string): Judge => ({
    connect: async () => {},
    sees: async () => true,
    domain: async (_ref, ...permissions) => {
      if (permissions.some((each) => each !== granted)) throw new LibvirtError('ACCESS_DENIED', "'Xen' denied access");
    },
  });
  await expect(call(judgedBlocks(api, judgeOf('none')))).rejects.toThrow("access denied: 'Xen' denied access");
  expect(done).toEqual([]);
  await call(judgedBlocks(api, judgeOf(permission)));
  expect(done).toEqual([name]);
});

const TIME = { seconds: 1n, nanoseconds: 0 };

/** The same of calls to guests' agents. */
const GUEST_CALLS: readonly (readonly [keyof GuestApi, string, (api: GuestApi) => Promise<unknown>])[] = [
  ['freeze', 'fs-freeze', (api) => api.freeze(ref, [], 0)],
  ['thaw', 'fs-freeze', (api) => api.thaw(ref, [], 0)],
  ['fileSystems', 'fs-freeze', (api) => api.fileSystems(ref, 0)],
  ['agentCommand', 'write', (api) => api.agentCommand(ref, '{}', -1, 0)],
  ['time', 'write', (api) => api.time(ref, 0)],
  ['setTime', 'write', (api) => api.setTime(ref, TIME, 0)],
];

test.each(GUEST_CALLS)('%s of a guest needs domain:%s, and without it nothing is asked', async (name, needed, call) => {
  const done: string[] = [];
  const api = Object.fromEntries(
    GUEST_CALLS.map(([each]) => [each, async () => void done.push(each)]),
  ) as unknown as GuestApi;
  const judge = (granted: string): Judge => ({
    connect: async () => {},
    sees: async () => true,
    domain: async (_ref, ...permissions) => {
      if (permissions.some((each) => each !== granted)) throw new LibvirtError('ACCESS_DENIED', 'no');
    },
  });
  await expect(call(judgedGuests(api, judge('none')))).rejects.toThrow('access denied');
  expect(done).toEqual([]);
  await call(judgedGuests(api, judge(needed)));
  expect(done).toEqual([name]);
});
