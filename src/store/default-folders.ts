/** Where the daemon keeps its files unless told otherwise, and so where xlsnap looks at them. */

import { join } from 'node:path';

export interface Folders {
  /** libvirt's own files of snapshots: `<domain>/<snapshot>.xml`. */
  readonly snapshotDir: string;
  /** RAM of snapshots: `<uuid>/<snapshot>.save`. */
  readonly memoryDir: string;
  /** The journal, and the records of LiveDiskFiles. */
  readonly stateDir: string;
}

/** `uri`: what is served, `xen:///system`; everything but Xen is the embedded host, which has all in `embeddedHome`. */
export function defaultFolders(uri: string, embeddedHome: string): Folders {
  if (uri.startsWith('xen')) {
    return {
      snapshotDir: '/var/lib/libvirt/libxl/snapshot',
      memoryDir: '/var/lib/libvirt/libxl/snapshot-memory',
      stateDir: '/var/lib/xlsnap',
    };
  }
  return {
    snapshotDir: join(embeddedHome, 'snapshot'),
    memoryDir: join(embeddedHome, 'snapshot-memory'),
    stateDir: join(embeddedHome, 'state'),
  };
}
