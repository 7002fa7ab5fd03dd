/** What goes wrong, by real causes. Each begins while the daemon stands at a step, and ends when the operation has. */

import { once } from 'node:events';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { Interference, type Rule } from './interference.ts';
import { SNAPSHOTS } from './subjects.ts';
import type { World } from './world.ts';

/** Ends the fault, and says how often it struck. */
export type End = () => Promise<number>;

export interface Fault {
  readonly name: string;
  /** It leaves the daemon dead, or the client without an answer: the outcome may be either. */
  readonly silences?: 'daemon' | 'client';
  /** What of the domain cannot be looked at afterwards. */
  readonly spoils?: 'device model';
  /** It takes longer than a moment: a time limit runs out. */
  readonly slow?: boolean;
  /** It can strike only where this is touched; absent: at every step. */
  readonly touch?: Touch;
  begin(world: World): Promise<End>;
}

const once1: End = async () => 1;

/** A signal for a process, and what makes good for it. */
function signalled(pid: (world: World) => Promise<number | undefined>, signal: NodeJS.Signals): Fault['begin'] {
  return async (world) => {
    const target = await pid(world);
    if (target === undefined) return async () => 0;
    process.kill(target, signal);
    if (signal !== 'SIGSTOP') return once1;
    return async () => {
      // It may have been ended meanwhile.
      try {
        process.kill(target, 'SIGCONT');
      } catch {}
      return 1;
    };
  };
}

const daemon = async (world: World): Promise<number> => world.daemon.pid;
const deviceModel = (world: World): Promise<number | undefined> => world.guest.deviceModel();

const names = Object.keys(SNAPSHOTS);

/** Files by what they hold. */
const FILES = {
  memory: (world: World) =>
    names
      .flatMap((name) => [world.memoryImage(name), world.externalMemory(name)])
      .flatMap((path) => [path, `${path}.partial`]),
  metadata: (world: World) => names.map((name) => world.metadata(name)).flatMap((path) => [path, `${path}.new`]),
  journal: (world: World) => [world.journal, `${world.journal}.new`],
  folders: (world: World) => [
    join(world.home, 'snapshot/test'),
    join(world.home, 'memory'),
    join(world.home, 'snapshot'),
  ],
  image: (world: World) => [...world.images, ...names.flatMap((name) => world.overlays(name))],
} as const;

/** The calls by which files come, change and go. */
const CALLS = {
  open: ['openat'],
  write: ['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2'],
  sync: ['fsync', 'fdatasync'],
  rename: ['rename', 'renameat', 'renameat2'],
  remove: ['unlink', 'unlinkat', 'rmdir'],
} as const;

type Files = keyof typeof FILES;
type Calls = keyof typeof CALLS;

/** Calls on files: by the daemon and every program that it starts, or by the device model that was there before. */
export interface Touch {
  readonly by: 'daemon' | 'device model';
  readonly files: Files;
  readonly calls: Calls;
}

/** The calls fail, or kill whoever makes them. */
function failing(name: string, files: Files, calls: Calls, effect: string, by: Touch['by'] = 'daemon'): Fault {
  const begin: Fault['begin'] = async (world) => {
    const target = await (by === 'daemon' ? daemon(world) : deviceModel(world));
    if (target === undefined) return async () => 0;
    const rule: Rule = { calls: CALLS[calls], effect, paths: FILES[files](world) };
    const interference = await Interference.begin(target, rule, join(world.home, `strace-${target}`));
    return () => interference.end();
  };
  const silences = effect === 'signal=KILL' && files !== 'image' ? { silences: 'daemon' as const } : {};
  return { name, touch: { by, files, calls }, begin, ...silences };
}

/** Writes down what is touched, from now on. `mark` says what was since the one before. */
interface Watch extends AsyncDisposable {
  mark(): Promise<readonly Touch[]>;
}

export async function watch(world: World): Promise<Watch> {
  const calls = Object.values(CALLS).flat();
  const paths = Object.values(FILES).flatMap((of) => of(world));
  const watches: { by: Touch['by']; interference: Interference; seen: number }[] = [];
  for (const [by, pid] of [
    ['daemon', await daemon(world)],
    ['device model', await deviceModel(world)],
  ] as const) {
    if (pid === undefined) continue;
    const interference = await Interference.begin(pid, { calls, paths }, join(world.home, `strace-${pid}`));
    watches.push({ by, interference, seen: 0 });
  }
  return {
    async mark() {
      const touches: Touch[] = [];
      for (const each of watches) {
        const lines = await each.interference.seen();
        for (const line of lines.slice(each.seen))
          touches.push(...touchesIn(line, world).map((touch) => ({ by: each.by, ...touch })));
        each.seen = lines.length - 1;
      }
      return touches;
    },
    async [Symbol.asyncDispose]() {
      for (const { interference } of watches) await interference.end();
    },
  };
}

function touchesIn(line: string, world: World): readonly Omit<Touch, 'by'>[] {
  const call = /^\d+ +(\w+)\(/.exec(line)?.[1] ?? '';
  const paths = [...line.matchAll(/[<"](\/[^>"]+)[>"]/g)].map((match) => match[1] ?? '');
  const calls = (Object.keys(CALLS) as Calls[]).find((group) => (CALLS[group] as readonly string[]).includes(call));
  const files = (Object.keys(FILES) as Files[]).filter((kind) =>
    FILES[kind](world).some((path) => paths.includes(path)),
  );
  return calls === undefined ? [] : files.map((kind) => ({ files: kind, calls }));
}

/** The only place at a monitor, taken. */
async function holdMonitor(world: World): Promise<End> {
  const monitor = await world.guest.monitor();
  if (monitor === undefined) return async () => 0;
  const socket = createConnection(monitor);
  await once(socket, 'data');
  return async () => {
    socket.destroy();
    return 1;
  };
}

export const FAULTS: readonly Fault[] = [
  { name: 'the daemon is killed', silences: 'daemon', begin: signalled(daemon, 'SIGKILL') },
  {
    name: 'the daemon is told to stop',
    silences: 'daemon',
    begin: async (world) => {
      const stopped = world.daemon.stop();
      return async () => {
        await stopped;
        return 1;
      };
    },
  },
  failing('the daemon dies writing metadata', 'metadata', 'write', 'signal=KILL'),
  failing('the daemon dies naming metadata', 'metadata', 'rename', 'signal=KILL'),
  failing('the daemon dies removing metadata', 'metadata', 'remove', 'signal=KILL'),
  failing('the daemon dies writing memory', 'memory', 'write', 'signal=KILL'),
  failing('the daemon dies naming memory', 'memory', 'rename', 'signal=KILL'),
  failing('the daemon dies removing memory', 'memory', 'remove', 'signal=KILL'),
  failing('the daemon dies naming a journal record', 'journal', 'rename', 'signal=KILL'),
  failing('the daemon dies removing a journal record', 'journal', 'remove', 'signal=KILL'),
  { name: 'the device model is killed', spoils: 'device model', begin: signalled(deviceModel, 'SIGKILL') },
  { name: 'the device model hangs', slow: true, begin: signalled(deviceModel, 'SIGSTOP') },
  { name: 'the monitor is taken', slow: true, begin: holdMonitor },
  failing('the device model cannot write the image', 'image', 'write', 'error=EIO', 'device model'),
  failing('the device model finds the disk full', 'image', 'write', 'error=ENOSPC', 'device model'),
  failing('the device model cannot sync the image', 'image', 'sync', 'error=EIO', 'device model'),
  failing('a tool cannot write the image', 'image', 'write', 'error=EIO'),
  failing('a tool finds the disk full', 'image', 'write', 'error=ENOSPC'),
  failing('a tool is killed', 'image', 'write', 'signal=KILL'),
  failing('the image may not be opened', 'image', 'open', 'error=EACCES'),
  failing('the image cannot be synced', 'image', 'sync', 'error=EIO'),
  failing('no memory image may be made', 'memory', 'open', 'error=EACCES'),
  failing('the disk is full for memory', 'memory', 'write', 'error=ENOSPC'),
  failing('memory cannot be synced', 'memory', 'sync', 'error=EIO'),
  failing('memory cannot be named', 'memory', 'rename', 'error=EACCES'),
  failing('memory cannot be removed', 'memory', 'remove', 'error=EIO'),
  failing('metadata may not be opened', 'metadata', 'open', 'error=EACCES'),
  failing('the disk is full for metadata', 'metadata', 'write', 'error=ENOSPC'),
  failing('metadata cannot be synced', 'metadata', 'sync', 'error=EIO'),
  failing('metadata cannot be named', 'metadata', 'rename', 'error=EROFS'),
  failing('metadata cannot be removed', 'metadata', 'remove', 'error=EROFS'),
  failing('folders cannot be synced', 'folders', 'sync', 'error=EIO'),
  failing('the disk is full for the journal', 'journal', 'write', 'error=ENOSPC'),
  failing('the journal cannot be synced', 'journal', 'sync', 'error=EIO'),
  failing('a journal record cannot be removed', 'journal', 'remove', 'error=EIO'),
  {
    name: 'the client goes',
    silences: 'client',
    begin: async (world) => {
      world.dropClient();
      return once1;
    },
  },
  {
    name: 'the job is cancelled',
    begin: async (world) => {
      using client = await world.newClient();
      return await client.abortJob(await client.lookupByUUID((await world.domain()).uuid)).then(
        () => once1,
        () => async () => 0,
      );
    },
  },
];
