/**
 * The program xl. It starts every guest, so that a process of xl stays with the guest, its monitor: that one acts on reboots,
 * ends and crashes as the guest's configuration says.
 */

import { existsSync } from 'node:fs';
import { type Program, runLongProgram, runProgram } from '../../disks/program.ts';

const XL: Program = { name: 'xl', debianPackage: 'xen-utils-common' };
const SYSTEMD_RUN: Program = { name: 'systemd-run', debianPackage: 'systemd' };

/**
 * As a service of its own, whose processes stay when xl itself has ended: in xlsnapd's service they would have its
 * restrictions, and the scripts of networks need what it may not do.
 */
const AS_A_SERVICE = ['--quiet', '--collect', '--wait', '--pipe', '--property=KillMode=process', '--', XL.name];

/** xl as the host uses it; tests replace it. Errors are OPERATION_FAILED with xl's own words, after `failure`. */
export interface Xl {
  /** Reads something, or asks a guest for something. Returns the standard output. */
  ask(args: readonly string[], failure: string): Promise<string>;
  /** Starts or ends a guest, however long that takes. `stdin`: a descriptor that xl reads from. */
  change(args: readonly string[], failure: string, stdin?: number): Promise<void>;
}

/** The real one. */
export const XL_PROGRAM: Xl = {
  ask: (args, failure) => runProgram(XL, args, failure),
  async change(args, failure, stdin) {
    const options = stdin === undefined ? {} : { stdin };
    // sd_booted(3)
    if (existsSync('/run/systemd/system'))
      await runLongProgram(SYSTEMD_RUN, [...AS_A_SERVICE, ...args], failure, options);
    else await runLongProgram(XL, args, failure, options);
  },
};
