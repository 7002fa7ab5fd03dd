/** The daemon's default folders, which xlsnap reads, too. */

import { join } from 'node:path';
import { LOCK_FILE } from './folder-lock.ts';

/** The daemon's folders: absolute paths. */
export interface Folders {
  /** libvirt's own files of snapshots: `<domain>/<snapshot>.xml`. */
  readonly snapshotDir: string;
  /** RAM of snapshots: `<uuid>/<snapshot>.save`. */
  readonly memoryDir: string;
  /** The journal, and the records in STATE_FOLDERS. */
  readonly stateDir: string;
}

/**
 * Returns the folders for the served `uri`, `xen:///system`; any other is the embedded host's, which keeps all in
 * `embeddedHome`.
 */
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

/** Folders in the state folder, by what each holds. The embedded host keeps its domains' RAM and disks beside them. */
export const STATE_FOLDERS = {
  journal: 'journal',
  liveDisks: 'live-disks',
  blockJobs: 'block-jobs',
  protected: 'protected',
  saves: 'saves',
  /** The embedded host's managed saves. */
  managedSaves: 'managed-saves',
} as const;

/** Returns all that the daemon alone writes: files and folders. */
export function ownFiles({ snapshotDir, memoryDir, stateDir }: Folders): readonly string[] {
  const state = [...Object.values(STATE_FOLDERS), LOCK_FILE].map((name) => join(stateDir, name));
  return [snapshotDir, memoryDir, ...state];
}
