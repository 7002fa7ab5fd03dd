import { expect, test } from '@jest/globals';
import { exportArgs } from '../../../../src/disks/qemu/nbd-export.ts';

test('qemu-nbd gets path and format as data: neither becomes another option', () => {
  expect(exportArgs({ image: { path: '/a,b', format: 'raw' }, snapshotId: '1' }, '/s')).toEqual([
    ...['-r', '-k', '/s', '-l', 'snapshot.id=1', '--image-opts'],
    'driver=raw,file.filename=/a,,b,file.locking=off',
  ]);
  for (const format of ['raw,offset=512', 'nbd,path=/run/x', '']) {
    expect(() => exportArgs({ image: { path: '/a', format } }, '/s')).toThrow('is not one that QEMU has');
  }
});
