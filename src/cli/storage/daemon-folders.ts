/** Finds the daemon's folders, for commands that read them. The daemon says where they are. */

import { embeddedHome } from '../../rpc/sockets.ts';
import { defaultFolders, type Folders } from '../../store/default-folders.ts';
import type { Session } from '../session.ts';

const folderOption = <Name extends string>(name: Name) =>
  ({ name, type: 'string', named: true, help: `folder to look in instead of the daemon's --${name}` }) as const;

/** `--memory-dir`. */
export const MEMORY_DIR = folderOption('memory-dir');
/** `--snapshot-dir`. */
export const SNAPSHOT_DIR = folderOption('snapshot-dir');
/** `--state-dir`. */
export const STATE_DIR = folderOption('state-dir');

type FolderValues = { readonly [name in 'memory-dir' | 'snapshot-dir' | 'state-dir']?: string | undefined };

/**
 * Returns the daemon's folders, replaced by those of the command line. If the daemon cannot say (an older xlsnapd, or
 * libvirtd itself), uses the default ones and says so on standard error.
 */
export async function foldersOf(values: FolderValues, session: Session): Promise<Folders> {
  const client = await session.client();
  const status = await client.daemonStatus();
  if (!status) session.note('the daemon does not say which folders it uses: looking in the default ones');
  return named(values, status ?? defaults(session));
}

/** Returns the default folders, replaced by those of the command line, if there is no daemon to ask. */
export function foldersWithoutDaemon(values: FolderValues, session: Session): Folders {
  return named(values, defaults(session));
}

const defaults = ({ uri }: Session): Folders => defaultFolders(uri, embeddedHome());

function named(values: FolderValues, { snapshotDir, memoryDir, stateDir }: Folders): Folders {
  return {
    snapshotDir: values['snapshot-dir'] ?? snapshotDir,
    memoryDir: values['memory-dir'] ?? memoryDir,
    stateDir: values['state-dir'] ?? stateDir,
  };
}
