/** For fault tests: reports every step of every operation to a listener, and waits for it before the step starts. */

import { createConnection } from 'node:net';
import type { DomainRef } from '../model/domain.ts';
import type { Phase } from '../model/phases.ts';
import type { Task } from '../snapshots/ports/jobs.ts';
import type { Journal, JournalEntry } from '../snapshots/ports/journal.ts';

/** A journal that reports to `socket` what it has recorded: one line of JSON per connection, which the listener closes. */
export function reporting(journal: Journal, socket: string): Journal {
  return {
    pending: () => journal.pending(),
    end: (domain) => journal.end(domain),
    async begin(domain: DomainRef, task: Task): Promise<JournalEntry> {
      const entry = await journal.begin(domain, task);
      const report = (phase: Phase | 'ended') => tell(socket, { domain, ...task, phase });
      await report('begun');
      return {
        ...entry,
        phase: async (phase) => {
          await entry.phase(phase);
          await report(phase);
        },
        plan: (args, abandoned) => entry.plan(args, abandoned),
        end: async () => {
          await entry.end();
          await report('ended');
        },
      };
    },
  };
}

/** Resolves when the listener has closed the connection, or is not there. */
function tell(socket: string, step: object): Promise<void> {
  return new Promise((resolve) => {
    const connection = createConnection(socket, () => connection.write(`${JSON.stringify(step)}\n`));
    connection.on('error', () => {}).once('close', () => resolve());
    connection.resume();
  });
}
