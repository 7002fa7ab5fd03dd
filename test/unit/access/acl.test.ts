import { expect, test } from '@jest/globals';
import { Acl } from '../../../src/access/acl.ts';
import type { AuthorizationRequest } from '../../../src/access/authority.ts';
import { LibvirtError, neverAborted } from '../../../src/errors.ts';

const GONE = { name: 'guest', uuid: '6695eb01-f6a4-8304-79aa-97f2502e193f', id: -1 };

test('events are judged by the name that they carry, as in libvirtd: their domain may have gone', async () => {
  const asked: AuthorizationRequest[] = [];
  const acl = new Acl({
    driver: 'Xen',
    nameOf: () => Promise.reject(new LibvirtError('NO_DOMAIN', 'gone')),
    authority: {
      check: async (request) => {
        asked.push(request);
        return { authorized: request.details?.domain_name === 'guest', challenge: false, dismissed: false };
      },
    },
  });
  const judge = acl.judge({ kind: 'system-bus-name', name: ':1.5' }, neverAborted());
  expect(await judge.sees(GONE)).toBe(true);
  expect(await judge.sees({ ...GONE, name: 'other' })).toBe(false);
  expect(asked[0]).toMatchObject({
    action: 'org.libvirt.api.domain.getattr',
    details: { connect_driver: 'Xen', domain_name: 'guest', domain_uuid: GONE.uuid },
  });
});
