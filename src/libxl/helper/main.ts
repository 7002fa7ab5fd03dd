/**
 * Main of the helper process, the only one that maps libxl. It must have no child processes of its own: libxl, in its
 * default mode, owns SIGCHLD. Its parent forks it, calls it by IPC, and reads libxl's log from LOG_FD. If the parent
 * dies without `quit`, the guest that was stopped here runs again before this process ends.
 */

import { writeSync } from 'node:fs';
import { LibxlCallError, LibxlContext } from './context.ts';
import { type HelperFailure, type HelperReply, type HelperRequest, LOG_FD, logMarker, type Probe } from './protocol.ts';

type Call = Extract<HelperRequest, { kind: 'call' }>;

let opening: Promise<LibxlContext | Exclude<Probe, { state: 'ready' }>> | undefined;
let running: Promise<void> = Promise.resolve();
let ending = false;

async function perform({ operation, args }: Call): Promise<unknown> {
  opening ??= LibxlContext.open(LOG_FD);
  const context = await opening;
  if (context instanceof LibxlContext) {
    const method = context[operation] as (...args: readonly unknown[]) => Promise<unknown>;
    return method.apply(context, [...args]);
  }
  if (operation === 'probe') return context;
  throw new Error(context.message);
}

async function answer(call: Call): Promise<void> {
  let reply: HelperReply;
  try {
    reply = { id: call.id, value: await perform(call) };
  } catch (error) {
    reply = { id: call.id, failure: describe(error) };
  }
  // If the parent is gone both fail, and nobody is left to hear of it.
  try {
    writeSync(LOG_FD, `${logMarker(call.id)}\n`);
  } catch {}
  process.send?.(reply, undefined, undefined, () => {});
}

function describe(error: unknown): HelperFailure {
  const { message } = error as Error;
  return error instanceof LibxlCallError ? { message, rc: error.rc } : { message };
}

async function end(context: LibxlContext | undefined): Promise<never> {
  await running;
  context?.close();
  process.exit(0);
}

async function openContext(): Promise<LibxlContext | undefined> {
  const context = await opening?.catch(() => undefined);
  return context instanceof LibxlContext ? context : undefined;
}

async function abandon(): Promise<void> {
  if (ending) return;
  ending = true;
  const context = await openContext();
  await context?.abort();
  await running;
  await context?.abandon().catch(() => {});
  return end(context);
}

async function quit(): Promise<void> {
  ending = true;
  return end(await openContext());
}

process.on('message', (request: HelperRequest) => {
  switch (request.kind) {
    case 'call':
      running = running.then(() => answer(request));
      break;
    case 'abort':
      void openContext().then((context) => context?.abort());
      break;
    case 'quit':
      void quit();
      break;
  }
});
process.once('disconnect', abandon);
process.once('SIGTERM', abandon);
