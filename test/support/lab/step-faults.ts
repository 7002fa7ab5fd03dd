/** Faults in dom0 while xlsnapd waits at a step of an operation, and the start of whatever has died. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab, TextResult } from './lab.ts';

const SOCKET = '/run/libvirt/virtxend-sock';
const STEPS = '/run/lab/steps';
const SETTLE_MS = 120_000;
/** A save or a recovery of an emulated guest beside other work. */
const SLOW_TIMEOUT_MS = 300_000;
const POLL_MS = 500;

/** When the fault strikes: before the phase begins for the nth time. */
export interface Moment {
  readonly phase: string;
  readonly time: number;
}

export class StepFaults {
  readonly #lab: Lab;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** Starts libvirtd, and an xlsnapd that waits at each step until the lab has answered. */
  static async start(lab: Lab): Promise<StepFaults> {
    await lab.startLibvirtd();
    await lab.must(
      `rm -f ${STEPS}; setsid node /mnt/lab/checkout/test/lab/host/at-step.mjs ${STEPS} >> $LOG/at-step.log 2>&1 & until_true 60 test -S ${STEPS}`,
    );
    const faults = new StepFaults(lab);
    await faults.startXlsnapd();
    return faults;
  }

  async startXlsnapd(environment = ''): Promise<void> {
    await this.#lab.must(
      `rm -f ${SOCKET} ${SOCKET}-ro; export XLSNAPD_STEPS=${STEPS} ${environment}; start_xlsnapd ${SOCKET}`,
      { timeoutMs: SLOW_TIMEOUT_MS },
    );
  }

  /** Runs virsh, and in dom0 `command` when the daemon is at the step. Afterwards all that has died is there again. */
  async strike(
    { phase, time }: Moment,
    command: string,
    ...virsh: readonly string[]
  ): Promise<{ readonly struck: boolean; readonly answer: TextResult }> {
    const plan = [`${phase} ${time}`, command].map((line) => `'${line}'`).join(' ');
    await this.#lab.must(`rm -f /run/lab/step-plan.done; printf '%s\\n' ${plan} > /run/lab/step-plan`);
    const words = ['virsh', '-c', 'xen:///system', ...virsh];
    const answer = await this.#lab.sh(words.map((word) => `'${word}'`).join(' '), { timeoutMs: SLOW_TIMEOUT_MS });
    const struck = (await this.#lab.sh('test -e /run/lab/step-plan.done')).rc === 0;
    await this.#lab.must('rm -f /run/lab/step-plan');
    await this.mended();
    return { struck, answer };
  }

  /** Whatever has died is there again, and no job is under way. */
  async mended(): Promise<void> {
    const { rc } = await this.#lab.sh('kill -0 $(< /run/lab/xlsnapd.pid)');
    if ((await this.#lab.sh('pgrep -x libvirtd')).rc !== 0) {
      if (rc !== 0) await this.#lab.must(`rm -f ${SOCKET} ${SOCKET}-ro`);
      await this.#lab.startLibvirtd();
    }
    if (rc !== 0) await this.startXlsnapd();
    for (const end = Date.now() + SETTLE_MS; Date.now() < end; await sleep(POLL_MS)) {
      if ((await this.#lab.must('ls /var/lib/xlsnap/journal 2>/dev/null || true')).trim() === '') return;
    }
  }
}
