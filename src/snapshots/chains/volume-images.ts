/** The images of disks on volumes of storage pools: libvirt's storage driver knows their paths. */

import { isAbsolute } from 'node:path';
import { asLibvirtError, LibvirtError } from '../../errors.ts';
import type { DiskImage } from '../../model/disk-image.ts';
import type { DiskOnVolume } from '../../model/domain.ts';
import { shellCommand } from '../../model/messages/shell-command.ts';
import type { Host } from '../ports/host.ts';

/**
 * Returns undefined for a volume that is not on this host. Refuses (55), with the way out, one that cannot be looked up, as
 * long as its pool is not active for instance. Reads only.
 */
export async function volumeImage(
  host: Pick<Host, 'volumePath'>,
  { volume, format }: Pick<DiskOnVolume, 'volume' | 'format'>,
): Promise<DiskImage | undefined> {
  const { pool, name } = volume;
  const path = await host.volumePath(volume).catch((error) => {
    const commands = ['pool-start', 'pool-refresh'].map((command) => `'${shellCommand('virsh', command, pool)}'`);
    throw new LibvirtError(
      'OPERATION_INVALID',
      `volume '${name}' of storage pool '${pool}' cannot be looked up (${asLibvirtError(error).message}), which ` +
        `${commands.join(' or ')} may mend`,
      { cause: error },
    );
  });
  return isAbsolute(path) ? { path, format } : undefined;
}
