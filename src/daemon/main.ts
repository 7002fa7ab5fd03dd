#!/usr/bin/env node
/** xlsnapd: reads its options, serves until a signal stops it, and reports in one line why it cannot serve. */

import { asLibvirtError } from '../errors.ts';
import { printableLines } from '../model/messages/printable.ts';
import { openSystemCalls } from '../native/system-calls.ts';
import { VERSION } from '../version.ts';
import { openLog } from './log.ts';
import { parseOptions, USAGE } from './options.ts';
import { serve } from './serve.ts';
import { activatedSockets, notifier } from './systemd.ts';

/** Resolves with the first signal that asks the daemon to end. */
function stopped(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve(signal));
  });
}

/** Below TimeoutStopSec of the unit: the journal has what is left undone, for the next start. */
const STOP_TIMEOUT_MS = 270_000;
/** For the end of the process, once everything is closed. */
const EXIT_TIMEOUT_MS = 1_000;

async function main(argv: readonly string[]): Promise<void> {
  const options = parseOptions(argv);
  if (options === 'help' || options === 'version') {
    process.stdout.write(options === 'help' ? USAGE : `xlsnapd ${VERSION}\n`);
    return;
  }
  const log = openLog(options.logLevel);
  const stop = stopped();
  // A terminal or pipe that is gone must not end the daemon in the middle of its work.
  process.stderr.on('error', () => {});
  const system = await openSystemCalls();
  const notify = notifier(system.sendDatagram);
  {
    await using _served = await serve(options, { log, system, sockets: activatedSockets(system.socketPath) });
    log.info(`serving ${options.connect}`);
    notify('READY=1');
    log.info(`stopping on ${await stop}`);
    notify('STOPPING=1');
    setTimeout(() => {
      log.warning(
        `not stopped within ${STOP_TIMEOUT_MS / 1_000} seconds: what is under way is recovered at the next start`,
      );
      system.exitNow(1);
    }, STOP_TIMEOUT_MS).unref();
  }
  // A question about a file whose storage does not answer cannot be cancelled, and Node would wait for the answer.
  setTimeout(() => system.exitNow(0), EXIT_TIMEOUT_MS).unref();
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`xlsnapd: ${printableLines(asLibvirtError(error).message)}\n`);
  process.exitCode = 1;
});
