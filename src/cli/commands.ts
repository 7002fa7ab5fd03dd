/** All commands of xlsnap, in the order its help lists them. */

import type { CommandEntry } from './command-line/command.ts';
import { type CommandGroup, helpCommand } from './command-line/help.ts';

/** virsh's own. */
const snapshot: CommandGroup = {
  title: 'Snapshot',
  keyword: 'snapshot',
  commands: [
    {
      name: 'snapshot-create',
      help: 'Create a snapshot from XML',
      load: async () => (await import('./snapshot/snapshot-create.ts')).SNAPSHOT_CREATE,
    },
    {
      name: 'snapshot-create-as',
      help: 'Create a snapshot from a set of args',
      load: async () => (await import('./snapshot/snapshot-create.ts')).SNAPSHOT_CREATE_AS,
    },
    {
      name: 'snapshot-current',
      help: 'Get or set the current snapshot',
      load: async () => (await import('./snapshot/snapshot-dumpxml.ts')).SNAPSHOT_CURRENT,
    },
    {
      name: 'snapshot-delete',
      help: 'Delete a domain snapshot',
      load: async () => (await import('./snapshot/snapshot-delete.ts')).SNAPSHOT_DELETE,
    },
    {
      name: 'snapshot-dumpxml',
      help: 'Dump XML for a domain snapshot',
      load: async () => (await import('./snapshot/snapshot-dumpxml.ts')).SNAPSHOT_DUMPXML,
    },
    {
      name: 'snapshot-edit',
      help: 'edit XML for a snapshot',
      load: async () => (await import('./snapshot/snapshot-edit.ts')).SNAPSHOT_EDIT,
    },
    {
      name: 'snapshot-info',
      help: 'snapshot information',
      load: async () => (await import('./snapshot/snapshot-info.ts')).SNAPSHOT_INFO,
    },
    {
      name: 'snapshot-list',
      help: 'List snapshots for a domain',
      load: async () => (await import('./snapshot/snapshot-list.ts')).SNAPSHOT_LIST,
    },
    {
      name: 'snapshot-parent',
      help: 'Get the name of the parent of a snapshot',
      load: async () => (await import('./snapshot/snapshot-info.ts')).SNAPSHOT_PARENT,
    },
    {
      name: 'snapshot-revert',
      help: 'Revert a domain to a snapshot',
      load: async () => (await import('./snapshot/snapshot-revert.ts')).SNAPSHOT_REVERT,
    },
  ],
};

/** Those that virsh does not have. */
const storage: CommandGroup = {
  title: 'Pictures, storage and checks',
  keyword: 'storage',
  commands: [
    {
      name: 'tree',
      help: 'snapshots of a domain as a tree, or as a picture',
      load: async () => (await import('./tree/tree.ts')).TREE,
    },
    {
      name: 'du',
      help: 'disk space of the snapshots of a domain',
      load: async () => (await import('./storage/du.ts')).DU,
    },
    {
      name: 'rotate',
      help: 'take a snapshot of guests, and delete the oldest of those it has made',
      load: async () => (await import('./rotate/rotate.ts')).ROTATE,
    },
    {
      name: 'protect',
      help: 'protect snapshots from being deleted',
      load: async () => (await import('./protect/protect.ts')).PROTECT,
    },
    {
      name: 'unprotect',
      help: 'end the protection of snapshots',
      load: async () => (await import('./protect/protect.ts')).UNPROTECT,
    },
    {
      name: 'metrics',
      help: 'numbers about snapshots for a monitoring system',
      load: async () => (await import('./storage/metrics.ts')).METRICS,
    },
    {
      name: 'nbd',
      help: 'serve a disk as it was in a snapshot',
      load: async () => (await import('./storage/nbd.ts')).NBD,
    },
    {
      name: 'verify',
      help: 'check that snapshots are complete',
      load: async () => (await import('./verify/verify.ts')).VERIFY,
    },
    {
      name: 'doctor',
      help: 'find what interrupted operations have left, and the way out',
      load: async () => (await import('./doctor/doctor.ts')).DOCTOR,
    },
    {
      name: 'export',
      help: "print a snapshot as libxl's struct",
      load: async () => (await import('./libxl-json/export.ts')).EXPORT,
    },
    {
      name: 'import',
      help: "make a snapshot known again from libxl's struct",
      load: async () => (await import('./libxl-json/export.ts')).IMPORT,
    },
  ],
};

const itself: CommandGroup = {
  title: 'Xlsnap itself',
  keyword: 'xlsnap',
  commands: [
    {
      name: 'install',
      help: 'make xlsnapd a service of this host',
      load: async () => (await import('./install/install.ts')).INSTALL,
    },
    {
      name: 'uninstall',
      help: 'undo what install has done',
      load: async () => (await import('./install/install.ts')).UNINSTALL,
    },
    { name: 'help', help: 'print help', load: async () => helpCommand(GROUPS) },
    {
      name: 'completion',
      help: 'print a script that completes commands, domains and snapshots',
      load: async () => (await import('./command-line/completion.ts')).completionCommand(COMMANDS),
    },
  ],
};

/** The groups of the help. */
export const GROUPS: readonly CommandGroup[] = [snapshot, storage, itself];

/** All commands. */
export const COMMANDS: readonly CommandEntry[] = GROUPS.flatMap(({ commands }) => commands);
