/** All commands of xlsnap, in the order its help lists them. */

import type { Command } from './command-line/command.ts';
import { completionCommand } from './command-line/completion.ts';
import { type CommandGroup, helpCommand } from './command-line/help.ts';
import { DOCTOR } from './doctor/doctor.ts';
import { INSTALL, UNINSTALL } from './install/install.ts';
import { EXPORT, IMPORT } from './libxl-json/export.ts';
import { SNAPSHOT_CREATE, SNAPSHOT_CREATE_AS } from './snapshot/snapshot-create.ts';
import { SNAPSHOT_DELETE } from './snapshot/snapshot-delete.ts';
import { SNAPSHOT_CURRENT, SNAPSHOT_DUMPXML } from './snapshot/snapshot-dumpxml.ts';
import { SNAPSHOT_EDIT } from './snapshot/snapshot-edit.ts';
import { SNAPSHOT_INFO, SNAPSHOT_PARENT } from './snapshot/snapshot-info.ts';
import { SNAPSHOT_LIST } from './snapshot/snapshot-list.ts';
import { SNAPSHOT_REVERT } from './snapshot/snapshot-revert.ts';
import { DU } from './storage/du.ts';
import { TREE } from './tree/tree.ts';
import { VERIFY } from './verify/verify.ts';

/** virsh's own. */
const snapshot: CommandGroup = {
  title: 'Snapshot',
  keyword: 'snapshot',
  commands: [
    SNAPSHOT_CREATE,
    SNAPSHOT_CREATE_AS,
    SNAPSHOT_CURRENT,
    SNAPSHOT_DELETE,
    SNAPSHOT_DUMPXML,
    SNAPSHOT_EDIT,
    SNAPSHOT_INFO,
    SNAPSHOT_LIST,
    SNAPSHOT_PARENT,
    SNAPSHOT_REVERT,
  ],
};

/** Those that virsh does not have. */
const storage: CommandGroup = {
  title: 'Pictures, storage and checks',
  keyword: 'storage',
  commands: [TREE, DU, VERIFY, DOCTOR, EXPORT, IMPORT],
};

const itself: CommandGroup = {
  title: 'Xlsnap itself',
  keyword: 'xlsnap',
  commands: [INSTALL, UNINSTALL, helpCommand(() => GROUPS), completionCommand(() => COMMANDS)],
};

/** The groups of the help. */
export const GROUPS: readonly CommandGroup[] = [snapshot, storage, itself];

/** All commands. */
export const COMMANDS: readonly Command[] = GROUPS.flatMap(({ commands }) => commands);
