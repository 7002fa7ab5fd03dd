/**
 * Questions about files on storage that may never answer: a dead NFS server, a FUSE file system that has stopped. The system
 * gives no way to cancel such a question, and each keeps one of the few threads that this process has for files.
 */

import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isLibvirtError, LibvirtError } from '../errors.ts';

/** As long as qemu-img has for the same question. */
const ANSWER_TIMEOUT_MS = 10_000;

/** libuv's threads (UV_THREADPOOL_SIZE of the unit). Half of them are left for our own files: journal, metadata. */
const THREADS = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
const AT_ONCE = Math.max(1, Math.floor(THREADS / 2));

/** Folders in which a file has not answered in time, and still may. */
const silent = new Set<string>();
/** The last question about a file of each folder: one at a time, so that a dead mount keeps few threads. */
const lastOf = new Map<string, Promise<unknown>>();
const waiting: (() => void)[] = [];
let underWay = 0;

/**
 * Returns what `ask` resolves to. Refuses (OPERATION_FAILED) if that takes longer than ten seconds, and at once if a file of the
 * same folder has not answered an earlier question yet. `late` gets an answer that comes after the refusal.
 */
export async function answering<T>(path: string, ask: () => Promise<T>, late?: (answer: T) => unknown): Promise<T> {
  const folder = dirname(path);
  if (silent.has(folder)) throw noAnswer(path);
  let timer: NodeJS.Timeout | undefined;
  let refused = false;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      refused = true;
      reject(noAnswer(path));
    }, ANSWER_TIMEOUT_MS);
  });
  const answered = inLine(folder, async () => {
    // Its time may have passed while others had their turn.
    if (refused) throw noAnswer(path);
    const mark = setTimeout(() => silent.add(folder), ANSWER_TIMEOUT_MS);
    try {
      const answer = await ask();
      if (refused) late?.(answer);
      return answer;
    } finally {
      clearTimeout(mark);
      silent.delete(folder);
    }
  });
  answered.catch(() => undefined);
  try {
    return await Promise.race([answered, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined if nothing is at the path, or it cannot be looked at; follows links. Refuses as `answering` does. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  return await answering(path, () => stat(path)).catch((error) => {
    if (isLibvirtError(error)) throw error;
    return undefined;
  });
}

async function inLine<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const before = lastOf.get(folder) ?? Promise.resolve();
  const done = before.then(() => inTurn(work));
  const settled = done.then(
    () => undefined,
    () => undefined,
  );
  lastOf.set(folder, settled);
  try {
    return await done;
  } finally {
    if (lastOf.get(folder) === settled) lastOf.delete(folder);
  }
}

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (underWay >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else underWay += 1;
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else underWay -= 1;
  }
}

function noAnswer(path: string): LibvirtError {
  const seconds = ANSWER_TIMEOUT_MS / 1_000;
  const text = `the storage of '${path}' has not answered for ${seconds} seconds: look at its mount (findmnt -T) and its server`;
  return new LibvirtError('OPERATION_FAILED', text);
}
