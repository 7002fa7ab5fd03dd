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
  await using _served = await serve(options, { log, system, sockets: activatedSockets(system.socketPath) });
  log.info(`serving ${options.connect}`);
  notify('READY=1');
  log.info(`stopping on ${await stop}`);
  notify('STOPPING=1');
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`xlsnapd: ${printableLines(asLibvirtError(error).message)}\n`);
  process.exitCode = 1;
});
