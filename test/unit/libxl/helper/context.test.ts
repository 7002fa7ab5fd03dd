/** Each call that the helper makes to libxl, with its arguments and in its order; the lab has the libxl that obeys them. */

import { existsSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { idOf } from '../../../../src/files/same-file.ts';
import type { LibxlContext } from '../../../../src/libxl/helper/context.ts';
import { domainSnapshotRecover } from '../../../../src/libxl/recover.ts';
import type { LibxlSession } from '../../../../src/libxl/toolstack.ts';
import { scratchFolder } from '../../../support/hosts/embedded.ts';
import { CTX, DOMID, FakeLibxenlight, RESTORED } from '../../../support/libxl/fake-libxenlight.ts';
import { until } from '../../../support/until.ts';

const SUSPENDED = { mayBeSuspended: true, paused: false };
const STOPPED = { mayBeSuspended: true, paused: true };
const PAUSED = { mayBeSuspended: false, paused: true };

const RESUME = ['domain_resume', CTX, DOMID, 1, null];
const PAUSE = ['domain_pause', CTX, DOMID, null];
const UNPAUSE = ['domain_unpause', CTX, DOMID, null];
const suspend = (flags: number) => ['domain_suspend', CTX, DOMID, 'pipe', flags, null];

/** Into a file that exists, as the daemon has made it. */
function suspendInto(path: string, live = false): Promise<void> {
  writeFileSync(path, '', { flag: 'a' });
  return context.suspend(DOMID, { path, id: idOf(statSync(path, { bigint: true })) }, live);
}

let folder: Awaited<ReturnType<typeof scratchFolder>>;
let image: string;
let xen: FakeLibxenlight;
let context: LibxlContext;

beforeEach(async () => {
  folder = await scratchFolder();
  image = join(folder.path, 'image');
  xen = new FakeLibxenlight();
  context = await xen.context();
});

afterEach(async () => {
  jest.restoreAllMocks();
  await folder[Symbol.asyncDispose]();
});

const openFiles = () => readdirSync('/proc/self/fd').length;

/** A guest that a save has suspended, paused and resumed. */
async function paused(): Promise<void> {
  await suspendInto(image);
  await context.pause(DOMID);
  await context.resume(DOMID);
  xen.calls.length = 0;
}

test('a save suspends into the image, pauses, resumes with suspend_cancel=1, and unpauses', async () => {
  writeFileSync(image, 'header ');
  const before = openFiles();
  await suspendInto(image);
  await context.pause(DOMID);
  await context.resume(DOMID);
  await context.unpause(DOMID);
  expect(xen.calls).toEqual([suspend(0), PAUSE, RESUME, UNPAUSE]);
  expect(xen.guest).toMatchObject({ running: true, paused: false, shutdown: false });
  expect(readFileSync(image, 'latin1')).toBe('header stream');
  expect(openFiles()).toBe(before);
});

test('pages of zeros in libxl’s stream are holes of the image', async () => {
  writeFileSync(image, 'header ');
  xen.stream = Buffer.concat([Buffer.alloc(512 << 10), Buffer.from('end')]);
  await suspendInto(image);
  expect(readFileSync(image).equals(Buffer.concat([Buffer.from('header '), xen.stream]))).toBe(true);
  expect(statSync(image).blocks * 512).toBeLessThanOrEqual(16 << 10);
});

test('an image that cannot be written ends libxl’s call, and its own error is reported', async () => {
  const before = openFiles();
  const full = { path: '/dev/full', id: idOf(statSync('/dev/full', { bigint: true })) };
  await expect(context.suspend(DOMID, full, false)).rejects.toThrow('No space left on device');
  expect(openFiles()).toBe(before);
});

test('a live save asks for LIBXL_SUSPEND_LIVE', async () => {
  await suspendInto(image, true);
  expect(xen.calls).toEqual([suspend(2)]);
});

test.each([0, -1, 0x7ff0, 0xffff_ffff])('domain %i is not a guest: neither suspended nor paused', async (domid) => {
  await expect(context.suspend(domid, { path: image, id: '0:0' }, false)).rejects.toThrow('is not a guest');
  await expect(context.pause(domid)).rejects.toThrow('is not a guest');
  expect(xen.calls).toEqual([]);
  expect(existsSync(image)).toBe(false);
});

test('nothing is written to a file, or through a link, that has taken the image’s place', async () => {
  writeFileSync(image, 'header ');
  const made = { path: image, id: idOf(statSync(image, { bigint: true })) };
  renameSync(image, `${image}.away`);
  writeFileSync(image, 'precious');
  await expect(context.suspend(DOMID, made, false)).rejects.toThrow('was replaced while it was being written');
  renameSync(image, `${image}.precious`);
  symlinkSync(`${image}.precious`, image);
  await expect(context.suspend(DOMID, made, false)).rejects.toMatchObject({ code: 'ELOOP' });
  expect(readFileSync(`${image}.precious`, 'utf8')).toBe('precious');
  expect(xen.calls).toEqual([]);
});

test('an error of libxl names the call and its number, and the image is closed', async () => {
  const before = openFiles();
  xen.instead.set('domain_suspend', () => -3);
  await expect(suspendInto(image)).rejects.toMatchObject({
    message: 'libxl_domain_suspend returned -3',
    rc: -3,
  });
  expect(openFiles()).toBe(before);
});

test('release resumes a suspended guest first, then unpauses it, and returns what it is then', async () => {
  xen.suspend();
  xen.change({ paused: true });
  expect(await context.release(DOMID, STOPPED)).toMatchObject({ running: true, paused: false });
  expect(xen.calls).toEqual([RESUME, UNPAUSE]);
});

test('release unpauses a guest that is only paused', async () => {
  xen.change({ paused: true });
  await context.release(DOMID, PAUSED);
  expect(xen.calls).toEqual([UNPAUSE]);
});

test('release leaves alone a pause that is somebody else’s', async () => {
  xen.suspend();
  xen.change({ paused: true });
  expect(await context.release(DOMID, SUSPENDED)).toMatchObject({ paused: true });
  expect(xen.calls).toEqual([RESUME]);
});

test('release waits for a guest that obeys the suspend request late', async () => {
  const released = context.release(DOMID, SUSPENDED);
  xen.suspend();
  expect(await released).toMatchObject({ running: true });
  expect(xen.calls).toEqual([RESUME]);
});

test('release lets a guest alone that does not suspend within the grace time', async () => {
  let now = 0;
  jest.spyOn(Date, 'now').mockImplementation(() => (now += 2_000));
  expect(await context.release(DOMID, SUSPENDED)).toMatchObject({ running: true });
  expect(xen.calls).toEqual([]);
});

test('release does not resume a guest that has powered off, and knows none that has gone', async () => {
  xen.change({ running: false, shutdown: true, shutdown_reason: 'poweroff' });
  expect(await context.release(DOMID, SUSPENDED)).toMatchObject({ shutdown_reason: 'poweroff' });
  xen.guest = null;
  expect(await context.release(DOMID, STOPPED)).toBeNull();
  expect(xen.calls).toEqual([]);
});

test('abandon in the middle of a save resumes the guest and removes the unfinished image', async () => {
  await suspendInto(image);
  xen.calls.length = 0;
  await context.abandon();
  expect(xen.calls).toEqual([RESUME]);
  expect(xen.guest).toMatchObject({ running: true });
  expect(existsSync(image)).toBe(false);
});

test('abandon between resume and unpause unpauses the guest and removes the unfinished image', async () => {
  await paused();
  await context.abandon();
  expect(xen.calls).toEqual([UNPAUSE]);
  expect(existsSync(image)).toBe(false);
});

test('abandon after a failed suspend resumes a guest that has obeyed, and removes the image', async () => {
  xen.instead.set('domain_suspend', () => {
    xen.suspend();
    return -3;
  });
  await expect(suspendInto(image)).rejects.toThrow('returned -3');
  await context.abandon();
  expect(xen.calls).toEqual([suspend(0), RESUME]);
  expect(existsSync(image)).toBe(false);
});

test('abandon of a pause without a suspend only unpauses', async () => {
  await context.pause(DOMID);
  await context.abandon();
  expect(xen.calls).toEqual([PAUSE, UNPAUSE]);
});

test('abandon after a failed pause still looks whether the guest is paused', async () => {
  xen.instead.set('domain_pause', () => {
    xen.change({ paused: true });
    return -3;
  });
  await expect(context.pause(DOMID)).rejects.toThrow('libxl_domain_pause returned -3');
  await context.abandon();
  expect(xen.calls).toEqual([PAUSE, UNPAUSE]);
});

test('abandon after a save that is over, or was released, does nothing, and the image stays', async () => {
  await paused();
  await context.unpause(DOMID);
  xen.calls.length = 0;
  await context.abandon();
  expect(xen.calls).toEqual([]);
  expect(existsSync(image)).toBe(true);

  await suspendInto(image);
  await context.release(DOMID, SUSPENDED);
  xen.calls.length = 0;
  await context.abandon();
  expect(xen.calls).toEqual([]);
  expect(existsSync(image)).toBe(true);
});

test('abandon has nothing to do after the release of a guest that has not obeyed the suspend', async () => {
  xen.instead.set('domain_suspend', () => -3);
  await expect(suspendInto(image)).rejects.toThrow('returned -3');
  let now = 0;
  jest.spyOn(Date, 'now').mockImplementation(() => (now += 4_000));
  await context.release(DOMID, SUSPENDED);
  await context.abandon();
  expect(xen.calls).toEqual([suspend(0)]);
  expect(existsSync(image)).toBe(true);
});

test('an abort is asked again until libxl has begun, and nothing is aborted when nothing runs', async () => {
  await context.abort();
  expect(xen.calls).toEqual([]);
  let end = (_rc: number) => {};
  let refusals = 2;
  xen.instead.set('ao_abort', () => {
    if (refusals-- > 0) return -21;
    end(-22);
    return 0;
  });
  xen.instead.set('domain_suspend', () => new Promise<number>((resolve) => (end = resolve)));
  const suspended = suspendInto(image);
  await until(() => xen.names.includes('domain_suspend'));
  await context.abort();
  await expect(suspended).rejects.toMatchObject({ rc: -22 });
  expect(xen.calls.slice(1)).toEqual([1, 2, 3].map(() => ['ao_abort', CTX, null]));
});

const CONFIG = { c_info: { name: 'vm' } };
const restoreCall = (at: number) => [
  ...['domain_create_restore', CTX, CONFIG, 0xffff_ffff, `image at ${at}`, -1],
  ...[{ checkpointed_stream: 0, stream_version: 2 }, null, null],
];

test('a restore reads the stream after the header, as migration v2, and makes a new domain', async () => {
  writeFileSync(image, 'header stream');
  const before = openFiles();
  expect(await context.createRestore(CONFIG, image, 7)).toBe(RESTORED);
  expect(xen.calls).toEqual([restoreCall(7)]);
  expect(openFiles()).toBe(before);
});

test('a restore of an image that ends before its stream does not get to libxl', async () => {
  writeFileSync(image, 'head');
  await expect(context.createRestore(CONFIG, image, 7)).rejects.toThrow('ends before its stream');
  expect(xen.calls).toEqual([]);
});

test('an aborted restore destroys what libxl leaves; one that failed is cleaned up by libxl itself', async () => {
  writeFileSync(image, 'stream');
  xen.instead.set('domain_create_restore', () => -22);
  await expect(context.createRestore(CONFIG, image, 0)).rejects.toMatchObject({ rc: -22 });
  expect(xen.calls).toEqual([restoreCall(0), ['domain_destroy', CTX, RESTORED, null]]);
  xen.calls.length = 0;
  xen.instead.set('domain_create_restore', () => -3);
  await expect(context.createRestore(CONFIG, image, 0)).rejects.toMatchObject({ rc: -3 });
  await context.abandon();
  expect(xen.calls).toEqual([restoreCall(0)]);
});

test('abandon destroys a domain that nobody has unpaused, and no other', async () => {
  writeFileSync(image, 'stream');
  await context.createRestore(CONFIG, image, 0);
  await context.abandon();
  expect(xen.calls.slice(1)).toEqual([['domain_destroy', CTX, RESTORED, null]]);
  xen.calls.length = 0;
  await context.createRestore(CONFIG, image, 0);
  await context.unpause(RESTORED);
  await context.abandon();
  expect(xen.names).toEqual(['domain_create_restore', 'domain_unpause']);
});

test('a domain that this helper has not made is never destroyed', async () => {
  await expect(context.destroy(DOMID)).rejects.toThrow('was not made by this helper');
  expect(xen.calls).toEqual([]);
});

/** Recovery as the daemon runs it after a crash: by the calls of a fresh context. */
function recover(phase: string): Promise<void> {
  const session = Object.assign(context, { [Symbol.asyncDispose]: async () => context.close() });
  const startHelper = () => session as unknown as LibxlSession;
  return domainSnapshotRecover(DOMID, phase, { startHelper } as unknown as Parameters<typeof domainSnapshotRecover>[2]);
}

test.each([
  { phase: 'saving', suspended: true, pause: false, calls: [RESUME] },
  { phase: 'saving', suspended: true, pause: true, calls: [RESUME] },
  { phase: 'suspended', suspended: true, pause: false, calls: [RESUME] },
  { phase: 'suspended', suspended: true, pause: true, calls: [RESUME, UNPAUSE] },
  { phase: 'paused', suspended: false, pause: true, calls: [UNPAUSE] },
  { phase: 'disks-done', suspended: false, pause: true, calls: [UNPAUSE] },
])('recovery in phase $phase, suspended $suspended, paused $pause', async ({ phase, suspended, pause, calls }) => {
  if (suspended) xen.suspend();
  if (pause) xen.change({ paused: true });
  jest.spyOn(Date, 'now').mockReturnValueOnce(0).mockReturnValue(10_000);
  await recover(phase);
  expect(xen.calls).toEqual(calls);
  expect(xen.freed).toBe(1);
});

test('recovery waits for a guest that obeys the dead daemon’s suspend late', async () => {
  const recovered = recover('saving');
  xen.suspend();
  await recovered;
  expect(xen.calls).toEqual([RESUME]);
});

test('recovery reports a guest that cannot be resumed, with the command that continues it', async () => {
  xen.suspend();
  xen.instead.set('domain_resume', () => -3);
  await expect(recover('saving')).rejects.toThrow('libxl_domain_resume returned -3');
});
