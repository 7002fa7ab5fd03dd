/** virsh's question after an edited document was refused (vshAskReedit): one key, without Return. */

import { once } from 'node:events';
import type { Session } from '../session.ts';

const HELP = [
  'y - yes, start editor again',
  'n - no, throw away my changes',
  'f - force, try to redefine again',
  '? - print this help',
];

type Reedit = 'y' | 'n' | 'f';

/** Asks on standard input, which must be a terminal. Ctrl-C means no. */
export async function askReedit(session: Session, message: string): Promise<Reedit> {
  const { stdin } = process;
  stdin.setRawMode(true).resume();
  try {
    for (;;) {
      session.draw(`\r${message} Try again? [y,n,f,?]: `);
      const [key] = (await once(stdin, 'data')) as [Buffer];
      const answer = key.toString()[0]?.toLowerCase();
      if (answer === '\x03') return 'n';
      if (answer === '?') session.print(`\n${HELP.map((line) => `${line}\n`).join('')}`);
      if (answer === 'y' || answer === 'n' || answer === 'f') return answer;
    }
  } finally {
    stdin.setRawMode(false).pause();
    session.draw('\r\n');
  }
}
