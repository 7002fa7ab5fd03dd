/** A block-commit that QEMU does not know any more is not taken for one that has ended well. */

import { expect, test } from '@jest/globals';
import { followCommit } from '../../../../src/disks/overlays/commit-job.ts';
import { deviceModel } from '../../../support/disks/device-model.ts';

const { signal } = new AbortController();

test('a job that has vanished is an error: its layer may not be merged, and must not be removed', async () => {
  await using model = await deviceModel();
  const following = followCommit(model.socket, 'xvda', model.a, { signal, progress: () => {} });
  await expect(following).rejects.toMatchObject({
    code: 'OPERATION_FAILED',
    detail: "the block job on disk 'xvda' has vanished",
  });
});
