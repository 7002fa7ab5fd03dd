/** All commands of xlsnap, in the order its help lists them. */

import type { Command } from './command.ts';
import { type CommandGroup, helpCommand } from './help.ts';
import { SNAPSHOT_LIST } from './snapshot-list.ts';
import { TREE } from './tree.ts';

/** virsh's own. */
const snapshot: CommandGroup = {
  title: 'Snapshot',
  keyword: 'snapshot',
  commands: [SNAPSHOT_LIST],
};

/** Beyond virsh. */
const storage: CommandGroup = { title: 'Pictures, storage and checks', keyword: 'storage', commands: [TREE] };

const itself: CommandGroup = { title: 'Xlsnap itself', keyword: 'xlsnap', commands: [helpCommand(() => GROUPS)] };

export const GROUPS: readonly CommandGroup[] = [snapshot, storage, itself];

export const COMMANDS: readonly Command[] = GROUPS.flatMap(({ commands }) => commands);
