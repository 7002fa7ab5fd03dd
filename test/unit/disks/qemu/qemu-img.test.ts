import { expect, test } from '@jest/globals';
import { syncFile } from '../../../../src/disks/qemu/qemu-img.ts';

test('an image that cannot be synced is named', async () => {
  await expect(syncFile('/nonexistent/a.qcow2')).rejects.toMatchObject({
    code: 'SYSTEM_ERROR',
    message: expect.stringContaining("cannot sync image '/nonexistent/a.qcow2': No such file or directory"),
  });
  await expect(syncFile('/dev/null')).rejects.toMatchObject({ code: 'OPERATION_FAILED' });
});
