import { expect, test } from '@jest/globals';
import type { LiveSnapshots } from '../../../src/disks/live-snapshots.ts';
import { LibvirtError } from '../../../src/errors.ts';
import { undoSave } from '../../../src/libxl/undo.ts';
import type { PartialMemoryImage } from '../../../src/memory/partial-image.ts';
import { FakeXen } from '../../support/libxl/fake-xen.ts';

test('the guest runs again before its disks are undone, which takes a while, and the image goes last', async () => {
  const xen = new FakeXen();
  xen.suspended();
  const steps: string[] = [];
  const cause = new LibvirtError('OPERATION_FAILED', 'no space left');
  const disks = {
    undo: async (error: unknown) => {
      steps.push(`disks are undone, the guest ${xen.runs ? 'runs' : 'is stopped'}`);
      return error;
    },
  } as unknown as LiveSnapshots;
  const image = { discard: async () => void steps.push('image is removed') } as unknown as PartialMemoryImage;
  const state = { held: { mayBeSuspended: true, paused: true }, image, disks };
  expect(await undoSave(xen, xen.startHelper(), xen.domid, state, cause)).toBe(cause);
  expect(steps).toEqual(['disks are undone, the guest runs', 'image is removed']);
});
