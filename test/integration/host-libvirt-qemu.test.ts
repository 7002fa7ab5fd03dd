/** The libvirt host over libvirtd's qemu driver: a real guest, saved and reverted through libvirt. */

import { chmod, chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { OfflineImages } from '../../src/disks/offline-snapshots.ts';
import type { Domain } from '../../src/model/domain.ts';
import { LIFECYCLE } from '../../src/model/events.ts';
import type { LibxlDiskSnapshot } from '../../src/model/libxl.ts';
import {
  args,
  clientSees,
  host,
  image,
  job,
  libvirtd,
  now,
  open,
  revert,
  run,
  UUID,
} from '../support/daemons/libvirt-host.ts';
import { snapshotsIn } from '../support/disks/images.ts';

const { STOPPED_FROM_SNAPSHOT, STARTED_FROM_SNAPSHOT, RESUMED_FROM_SNAPSHOT, SUSPENDED_FROM_SNAPSHOT } = LIFECYCLE;

describe('over the qemu driver', () => {
  beforeEach(async () => {
    await open('qemu:///session');
    await chmod(image, 0o666);
  });

  const define = async (): Promise<Domain> => {
    const file = join(libvirtd.directory, 'guest.xml');
    await writeFile(
      file,
      `<domain type='qemu'><name>g</name><uuid>${UUID}</uuid><memory unit='MiB'>16</memory>
      <os><type arch='x86_64'>hvm</type></os><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
      <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${image}'/><target dev='vda' bus='virtio'/></disk>
      <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`,
    );
    await run('define', file);
    await run('start', 'g');
    return now();
  };

  test.each([
    ['running', false, RESUMED_FROM_SNAPSHOT],
    ['paused', true, SUSPENDED_FROM_SNAPSHOT],
  ])(
    'a real guest that is %s is saved unseen, and reverted as libvirt tells it',
    async (state, paused, last) => {
      await define();
      if (paused) await run('suspend', 'g');
      const domain = await now();
      expect(await clientSees(async () => host.save(domain, 's1', args(), job()))).toEqual([]);
      expect((await now()).state).toBe(state);
      expect(await snapshotsIn(image)).toEqual(['s1']);
      const { size, blocks } = await stat(args().memory_path ?? '');
      expect(blocks * 512).toBeLessThan(size);
      const events = await clientSees(() => revert(paused));
      // qemu tells of the end of the process, too.
      const shutdown = 6;
      expect(events.filter(({ event }) => event !== shutdown)).toEqual([
        STOPPED_FROM_SNAPSHOT,
        STARTED_FROM_SNAPSHOT,
        last,
      ]);
      expect((await now()).state).toBe(state);
      await run('destroy', 'g');
    },
    60_000,
  );

  test('an image that only another user can open: its guest comes back on a new overlay', async () => {
    const { uid, gid } = await stat(libvirtd.directory);
    await chown(image, uid, gid);
    await chmod(image, 0o600);
    const domain = await define();
    const overlay = `${image}.s1`;
    const [disk] = args().disks ?? [];
    const disks = [{ ...(disk as LibxlDiskSnapshot), external: true, external_path: overlay }];
    await new OfflineImages().create('s1', disks, new Set([image]));
    await host.save(domain, 's1', { ...args(), disks }, job());
    expect((await now()).state).toBe('running');
    expect(await stat(overlay)).toMatchObject({ uid, gid, mode: (await stat(image)).mode });
    await run('destroy', 'g');
  }, 60_000);
});
