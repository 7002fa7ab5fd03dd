import { expect, test } from '@jest/globals';
import { hostMemory } from '../../../src/libxl/host-memory.ts';
import { FakeXen, UUID } from '../../support/libxl/fake-xen.ts';

test('what Xen has promised to a domain that is being made is not free', async () => {
  const xen = new FakeXen();
  expect(await hostMemory(xen)).toEqual({
    freeKib: (100 + 5 - 10) * 4,
    domains: [{ id: 5, name: 'vm', uuid: UUID, kib: 4 }],
    xenCommandLine: 'dom0_mem=1G',
  });
  expect(xen.openHelpers).toBe(0);
});
