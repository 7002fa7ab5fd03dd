/** The daemon's folders, for commands that look at what lies in them: named where the daemon was started with others. */

import { embeddedHome } from '../../rpc/sockets.ts';
import { defaultFolders, type Folders } from '../../store/default-folders.ts';
import type { Session } from '../session.ts';

export const MEMORY_DIR = {
  name: 'memory-dir',
  type: 'string',
  named: true,
  help: "xlsnapd's --memory-dir, where it is not the default",
} as const;

export const SNAPSHOT_DIR = {
  name: 'snapshot-dir',
  type: 'string',
  named: true,
  help: "xlsnapd's --snapshot-dir, where it is not the default",
} as const;

export const STATE_DIR = {
  name: 'state-dir',
  type: 'string',
  named: true,
  help: "xlsnapd's --state-dir, where it is not the default",
} as const;

/** Those that the daemon has by default, and those that the command line names instead. */
export function foldersOf(
  values: { readonly [name in 'memory-dir' | 'snapshot-dir' | 'state-dir']?: string | undefined },
  { uri }: Session,
): Folders {
  const places = defaultFolders(uri, embeddedHome());
  return {
    snapshotDir: values['snapshot-dir'] ?? places.snapshotDir,
    memoryDir: values['memory-dir'] ?? places.memoryDir,
    stateDir: values['state-dir'] ?? places.stateDir,
  };
}
