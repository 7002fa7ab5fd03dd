import { describe, expect, test } from '@jest/globals';
import { Authentication, type Entry } from '../../../src/access/authentication.ts';
import type { Authorization, AuthorizationRequest } from '../../../src/access/authority.ts';
import { neverAborted } from '../../../src/errors.ts';

const NO: Authorization = { authorized: false, challenge: false, dismissed: false };
const ALICE = { pid: 4242, uid: 1001, gid: 1001, startTime: 77n };

function arriving(
  peer: typeof ALICE | undefined,
  { readOnly = false, answer = NO, entry }: Partial<{ readOnly: boolean; answer: Authorization; entry: Entry }> = {},
) {
  const requests: AuthorizationRequest[] = [];
  const authority = {
    check: async (request: AuthorizationRequest) => {
      requests.push(request);
      return answer;
    },
  };
  const asked: Entry = entry ?? { scheme: 'polkit', authority };
  const authentication = new Authentication(
    { write: asked, readOnly: asked },
    { readOnly, peer, signal: neverAborted(), authenticated() {} },
  );
  return { authentication, requests };
}

describe('polkit', () => {
  test('is asked about the process, its start and its user, for the socket at hand', async () => {
    for (const [readOnly, action] of [
      [false, 'org.libvirt.unix.manage'],
      [true, 'org.libvirt.unix.monitor'],
    ] as const) {
      const { authentication, requests } = arriving(ALICE, { readOnly, answer: { ...NO, authorized: true } });
      expect({ done: authentication.done, type: authentication.type }).toEqual({ done: false, type: 2 });
      await Promise.all([authentication.polkit(), authentication.polkit()]);
      expect(authentication.done).toBe(true);
      const subject = { kind: 'unix-process', pid: 4242, startTime: 77n, uid: 1001 };
      expect(requests).toMatchObject([{ subject, action, interactive: true }]);
    }
  });

  test.each([
    [NO, 45, 'authentication failed: access denied by policy'],
    [{ ...NO, dismissed: true }, 79, 'authentication cancelled: user cancelled authentication process'],
    [
      { ...NO, challenge: true },
      94,
      "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'",
    ],
  ])('that answers %j', async (answer, code, message) => {
    const { authentication } = arriving(ALICE, { answer });
    await expect(authentication.polkit()).rejects.toMatchObject({ message, fields: { code, domain: 60 } });
    expect(authentication.done).toBe(false);
  });

  test('is not asked about a process that cannot be identified: the answer is no', async () => {
    for (const peer of [undefined, { ...ALICE, pid: 0 }, { ...ALICE, startTime: undefined as never }]) {
      const { authentication, requests } = arriving(peer, { answer: { ...NO, authorized: true } });
      await expect(authentication.polkit()).rejects.toThrow('authentication failed');
      expect({ done: authentication.done, requests }).toEqual({ done: false, requests: [] });
    }
  });

  test('is not asked about root', () => {
    const { authentication } = arriving({ ...ALICE, uid: 0 });
    expect({ done: authentication.done, type: authentication.type }).toEqual({ done: true, type: 0 });
  });
});

test('a closed socket lets in root alone, and says why', async () => {
  const entry = { scheme: 'closed', reason: 'a test' } as const;
  const { authentication } = arriving(ALICE, { entry });
  expect(() => authentication.type).toThrow('authentication failed: only root may connect to xlsnapd: a test');
  await expect(authentication.polkit()).rejects.toThrow('authentication failed');
  expect(authentication.done).toBe(false);
  expect(arriving({ ...ALICE, uid: 0 }, { entry }).authentication.done).toBe(true);
});
