import { expect, test } from '@jest/globals';
import { LibvirtError } from '../../../../src/errors.ts';
import type { DiskImage } from '../../../../src/model/disk-image.ts';
import type { Domain } from '../../../../src/model/domain.ts';
import { checkNotShared, sharedImages } from '../../../../src/snapshots/chains/shared-images.ts';
import type { SnapshotContext } from '../../../../src/snapshots/context.ts';
import { parseDefinition } from '../../../../src/xml/domain/definition.ts';

const domainOf = (name: string): Domain => ({
  ref: { name, uuid: `uuid of ${name}`, id: -1 },
  state: 'shutoff',
  persistent: true,
});

const standingOn = (path: string) =>
  parseDefinition(
    `<domain type='xen'><name>g</name><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` +
      `<source file='${path}'/><target dev='xvda'/></disk></devices></domain>`,
  );

/** The error of looking at domain `gone`. */
function looking(error: LibvirtError): Pick<SnapshotContext, 'host' | 'images'> {
  return {
    host: {
      list: async () => ['own', 'gone', 'other'].map(domainOf),
      definition: async ({ ref }: Domain) => {
        if (ref.name === 'gone') throw error;
        return standingOn('/d/base.qcow2');
      },
    },
    images: { chain: async (image: DiskImage) => [image], fileKey: async (path: string) => path },
  } as unknown as Pick<SnapshotContext, 'host' | 'images'>;
}

test('a domain that goes while it is looked at stands on nothing', async () => {
  const gone = new LibvirtError('NO_DOMAIN', "no domain with matching uuid 'uuid of gone'");
  const shared = await sharedImages(looking(gone), domainOf('own'), ['/d/base.qcow2']);
  expect([...shared].map(([path, { ref }]) => [path, ref.name])).toEqual([['/d/base.qcow2', 'other']]);
});

test('a domain that cannot be looked at for another reason may stand on any image', async () => {
  const lost = new LibvirtError('RPC', 'connection to libvirtd is closed');
  await expect(sharedImages(looking(lost), domainOf('own'), ['/d/base.qcow2'])).rejects.toBe(lost);
});

/** A running domain `other`, whose next start is on another image. */
function restarting(live: string, persistent: string): Pick<SnapshotContext, 'host' | 'images'> {
  const other = { ...domainOf('other'), ref: { ...domainOf('other').ref, id: 7 }, state: 'running' };
  return {
    host: {
      list: async () => [domainOf('own'), other],
      definition: async (_: Domain, which: string) => standingOn(which === 'live' ? live : persistent),
    },
    images: { chain: async (image: DiskImage) => [image], fileKey: async (path: string) => path },
  } as unknown as Pick<SnapshotContext, 'host' | 'images'>;
}

test.each([
  ['runs on it', '/d/base.qcow2', '/d/new.qcow2'],
  ['will start on it', '/d/new.qcow2', '/d/base.qcow2'],
])('an image is shared if another domain %s', async (_what, live, persistent) => {
  const context = restarting(live, persistent);
  await expect(checkNotShared(context, domainOf('own'), ['/d/base.qcow2'])).rejects.toMatchObject({
    code: 'OPERATION_INVALID',
    detail: expect.stringContaining("is also used by domain 'other'"),
  });
  await checkNotShared(context, domainOf('own'), ['/d/third.qcow2']);
});
