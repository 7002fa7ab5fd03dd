/** Which libxenlight is found, and what is said of one that cannot be used. Libraries and dynamic linker are real. */

import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { type Candidates, openLibxenlight } from '../../../../src/libxl/helper/library.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';
import { brokenLibrary, type Fault, REAL_SONAME } from '../../../support/libxl/broken-libraries.ts';

const NONE: Candidates = { supported: ['libxenlight.so.4.99', 'libxenlight.so.4.98'], tooNew: [], tooOld: [] };

let folder: Awaited<ReturnType<typeof scratchFolder>>;

beforeEach(async () => {
  folder = await scratchFolder();
});

afterEach(async () => {
  await folder[Symbol.asyncDispose]();
});

test('the newest supported one is loaded', async () => {
  expect(await openLibxenlight()).toMatchObject({ soname: REAL_SONAME });
});

test('of several, the first that loads', async () => {
  expect(await openLibxenlight({ ...NONE, supported: ['libxenlight.so.4.99', REAL_SONAME] })).toMatchObject({
    soname: REAL_SONAME,
  });
});

test('none is installed: what to install', async () => {
  expect(await openLibxenlight(NONE)).toEqual({
    missing:
      'no libxenlight on this machine (libxenlight.so.4.98 to libxenlight.so.4.99 can be used); ' +
      'run: apt install libvirt-daemon-driver-xen',
  });
});

test('only a newer one', async () => {
  expect(await openLibxenlight({ ...NONE, tooNew: [REAL_SONAME] })).toEqual({
    missing:
      `${REAL_SONAME} is newer than this version of xlsnapd knows ` +
      '(libxenlight.so.4.98 to libxenlight.so.4.99): install a newer xlsnap',
  });
});

test('only an older one', async () => {
  expect(await openLibxenlight({ ...NONE, tooOld: [REAL_SONAME] })).toEqual({
    missing: `${REAL_SONAME} is too old (libxenlight.so.4.98 to libxenlight.so.4.99 can be used): install a newer Xen`,
  });
});

test.each<[Fault, RegExp]>([
  ['damaged', /cannot read file data/],
  ['without a dependency', /libxenctrl\.so\.4\.99: cannot open shared object file/],
  ['without its functions', /libxl_ctx_alloc|libxl_domid_to_name/],
])('one that is %s', async (fault, reason) => {
  const path = await brokenLibrary(folder.path, REAL_SONAME, fault);
  const opened = await openLibxenlight({ ...NONE, supported: [path] });
  expect(opened).toEqual({ missing: expect.stringMatching(/^\S+ cannot be used: /) });
  expect(opened).toEqual({ missing: expect.stringMatching(reason) });
  expect(opened).toEqual({ missing: expect.not.stringContaining('no libxenlight on this machine') });
});
