import { expect, test } from '@jest/globals';
import { domainHold } from '../../../src/libxl/hold.ts';
import { FakeXen } from '../../support/libxl/fake-xen.ts';

test('the guest is paused until the hold is disposed of, and then its helper ends', async () => {
  const xen = new FakeXen();
  {
    await using _hold = await domainHold(xen.domid, xen);
    expect(xen.guest).toMatchObject({ paused: true });
    expect(xen.openHelpers).toBe(1);
  }
  expect(xen.calls).toEqual(['pause', 'unpause']);
  expect(xen.runs).toBe(true);
  expect(xen.openHelpers).toBe(0);
});

test('a guest that cannot be paused is not held, and no helper is left', async () => {
  const xen = new FakeXen();
  xen.fail('pause', 'pause failed');
  await expect(domainHold(xen.domid, xen)).rejects.toThrow('pause failed');
  expect(xen.openHelpers).toBe(0);
});

test('a guest that cannot be unpaused is reported with the command that continues it', async () => {
  const xen = new FakeXen();
  const hold = await domainHold(xen.domid, xen);
  xen.fail('unpause', 'unpause failed');
  await expect(hold[Symbol.asyncDispose]()).rejects.toThrow("'xl unpause 5' continues it");
  expect(xen.openHelpers).toBe(0);
});
