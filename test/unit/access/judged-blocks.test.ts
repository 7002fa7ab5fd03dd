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
  ['jobInfo', 'read', (api) => api.jobInfo(ref, 'xvda', 0)],
  ['abort', 'write', (api) => api.abort(ref, 'xvda', 0)],
  ['setSpeed', 'write', (api) => api.setSpeed(ref, 'xvda', 0n, 0)],
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

test('freezing and thawing a guest need domain:fs-freeze', async () => {
  let done = 0;
  const api: GuestApi = { freeze: async () => ++done, thaw: async () => ++done };
  const asked: string[] = [];
  const granting: Judge = {
    connect: async () => {},
    sees: async () => true,
    domain: async (_ref, ...of) => void asked.push(...of),
  };
  await judgedGuests(api, granting).freeze(ref, [], 0);
  await judgedGuests(api, granting).thaw(ref, [], 0);
  expect([asked, done]).toEqual([['fs-freeze', 'fs-freeze'], 2]);
  const refusing: Judge = { ...granting, domain: () => Promise.reject(new LibvirtError('ACCESS_DENIED', 'no')) };
  await expect(judgedGuests(api, refusing).freeze(ref, [], 0)).rejects.toThrow('access denied');
  await expect(judgedGuests(api, refusing).thaw(ref, [], 0)).rejects.toThrow('access denied');
  expect(done).toBe(2);
});
